"""Sources: where labelled images come from: a folder, CIFAR-100, or built-in drawings."""
