// Reads {"policies": [...], "questions": [{action, resource, context, key}]}, and prints whether each is allowed.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { runSimulation } = createRequire(process.argv[2] + "/")("@cloud-copilot/iam-simulate");
const account = "123456789012";
const { policies, questions } = JSON.parse(readFileSync(0, "utf8"));
// A key asks its own policy, too; ours leaves the decision to the account's policies.
const keyPolicy = {
  Version: "2012-10-17",
  Statement: [{ Effect: "Allow", Principal: { AWS: `arn:aws:iam::${account}:root` }, Action: "kms:*", Resource: "*" }],
};
const answers = [];
for (const { action, resource, context } of questions) {
  const simulation = {
    identityPolicies: policies.map((policy, number) => ({ name: `policy-${number}`, policy })),
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    resourcePolicy: action.startsWith("kms:") && resource !== "*" ? keyPolicy : undefined,
    request: {
      action,
      resource: { resource, accountId: account },
      principal: `arn:aws:iam::${account}:role/operator`,
      contextVariables: context,
    },
  };
  const found = await runSimulation(simulation, {});
  answers.push(found.overallResult ?? JSON.stringify(found.errors ?? found));
}
console.log(JSON.stringify(answers));
