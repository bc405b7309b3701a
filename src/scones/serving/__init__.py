"""The endpoint's server: SageMaker's container contract over one small image model."""
