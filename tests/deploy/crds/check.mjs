// Standard input: a JSON array of objects. Prints what is wrong with them, a line each.
import { readFileSync } from "node:fs";
import { ExternalSecret } from "@kubernetes-models/external-secrets/external-secrets.io/v1/ExternalSecret";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";

const kinds = { ExternalSecret, ServiceMonitor };
for (const one of JSON.parse(readFileSync(0))) {
  try {
    new kinds[one.kind](one).validate();
  } catch (error) {
    console.log(`${one.kind} ${one.metadata.name}: ${error.message}`);
  }
}
