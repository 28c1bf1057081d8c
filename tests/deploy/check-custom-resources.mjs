// Validates custom resources, given as a JSON list on stdin, with the models of @kubernetes-models:
// check-custom-resources.mjs FOLDER, where FOLDER contains node_modules. Prints each error.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const PACKAGES = {
  "argoproj.io": "argo-cd",
  "external-secrets.io": "external-secrets",
  "monitoring.coreos.com": "prometheus-operator",
};

const modules = resolve(process.argv[2], "node_modules/@kubernetes-models");
let failed = false;
for (const resource of JSON.parse(readFileSync(0, "utf8"))) {
  const [group, version] = resource.apiVersion.split("/");
  const path = `${modules}/${PACKAGES[group]}/${group}/${version}/${resource.kind}.js`;
  const model = (await import(pathToFileURL(path)))[resource.kind];
  try {
    new model(resource).validate();
    console.log(`valid: ${resource.kind}`);
  } catch (error) {
    failed = true;
    console.log(`invalid: ${resource.kind}: ${error.message}`);
  }
}
process.exit(failed ? 1 : 0);
