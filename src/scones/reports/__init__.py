"""Reports: self-contained HTML pages, with their charts and photos inside.

`theme` has the page style and the templates' filters, `charts` draws, and `gallery` chooses and embeds photos. Each
other module renders one page from the results of evaluation or monitoring; the templates are in `templates/`.
"""
