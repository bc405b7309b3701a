"""SageMaker: training jobs, models and endpoints as real processes on this machine."""
