"""The steps, one verb a file: arguments in, a frozen result out; no step imports another."""

STEPS = {
    "stage": "Validate labelled photos, upload them with manifests, and write a report about them.",
    "image": "Build this version's container image in your AWS account; later commands do so if it is missing.",
    "train": "Run a training job on the staged photos and register its model; it is approved if it passes the gate.",
    "register": "Register an ONNX model made elsewhere; staged photos calibrate it and show which photos to refuse.",
    "approve": "Approve or reject a registered model; only approved models can be deployed.",
    "up": "Create or update the stack: check the account, show the price and the changes, then ask for approval.",
    "deploy": "Deploy a model to the endpoint, gradually if another model is live, and start capturing its traffic.",
    "rollback": "Return the endpoint to the previous release; run it again to go back one release further.",
    "retrain": "Train on the labels; deploy the new model if it is not worse than the live one on the same photos.",
    "classify": "Classify photos with the Step Functions workflow.",
    "predict": "Predict the classes of photos with a model file on this machine, without a cloud.",
    "replay": "Reproduce a recorded decision exactly, or show what another model or threshold would have decided.",
    "evaluate": "Evaluate the endpoint on every test photo, propose a threshold, and write a report.",
    "monitor": "Check the captured traffic for drift, and send an alert if there is any.",
    "review": "List the photos that wait for a person, answer them, and export and import labels.",
    "dispatch": "Assign open orders to available couriers, by the rules for each class of vehicle.",
    "simulate": "Send a stream of courier photos, some duplicated, corrupt or shifted, and report the outcome of each.",
    "forget": "Delete a photo for good wherever it is kept, and name the data and models that it was part of.",
    "cost": "Estimate what classifying photos costs on AWS, from a bundled price list; nothing is sent to AWS.",
    "status": "Show deployed resources, manual changes, the live model, hourly cost and leftovers.",
    "down": "Delete all resources of the environment, or all but its data, and verify that they are gone.",
}
"""Every command in the order of the workflow, and what it does."""
