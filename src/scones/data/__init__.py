"""Data: from the files of a source to a dataset that can be trained on.

`loading` is the entry; it reads one of the `sources`. `validation` checks each image and builds the `dataset`: without
duplicates, and without leakage between train and test (`near_duplicates`). `image_header`, `decode` and `metadata` read
image files. `dataset` also has the manifest that describes a staged dataset to SageMaker.
"""
