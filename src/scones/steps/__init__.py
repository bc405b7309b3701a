"""The steps, one verb a file: arguments in, a frozen result out; no step imports another."""

STEPS = {
    "stage": "Check the photos, put them in the bucket with their lists, and report on them.",
    "image": "Have the container image of this version built in the account; later steps do it where it is missing.",
    "train": "Run a training job on the staged photos, and register its model; one that passes the gate is approved.",
    "approve": "Approve or reject a registered model: only an approved one is deployed.",
    "up": "Look at the account, say the price, show what would change, and bring the stack to the template.",
    "deploy": "Put the model behind the endpoint, step by step where another serves, and capture what it sees.",
    "rollback": "Return to the release before; again, to the one before that.",
    "classify": "Send photos through the Step Functions workflow.",
    "replay": "Rebuild a recorded decision bit for bit, or say what another model or threshold would have changed.",
    "evaluate": "Ask the endpoint about every test photo, measure it, propose a threshold, and write a report.",
    "monitor": "Compare what the endpoint saw with the baseline; send an alert if it changed.",
    "dispatch": "Give the open orders to the couriers just seen: bicycles near, motorcycles far.",
    "simulate": "Send a stream of couriers' photos, some twice, broken or shifted, and account for each of them.",
    "cost": "Say what photos cost on AWS by each mode, from the dated price file; nothing is asked of AWS.",
    "status": "Say what stands, what was changed by hand, what serves, what it costs an hour, and what is left over.",
    "down": "Delete everything of this environment, or all but its data, look again, and give a receipt.",
}
"""Every step in order, and what it does."""
