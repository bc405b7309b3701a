"""The endpoint's server: SageMaker's container contract over one small image model.

`server` loads the model and starts uvicorn's workers. In each, `protocol` limits what a connection may cost, `app`
responds, and `batching` runs the model; `image_input` reads request bodies, `responses` writes predictions.
"""
