"""Reports: self-contained HTML pages with inline charts and images, one page a module."""
