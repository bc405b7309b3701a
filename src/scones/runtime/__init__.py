"""What AWS runs: the training and serving programs and the Lambdas; here alone the environment is the contract."""
