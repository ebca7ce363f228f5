#!/usr/bin/env python3
"""Judges rendered manifests: pods.py DIRECTORY FILE… exits with 1 and says what is wrong.

Every pod passes the restricted Pod Security Standard, but that a DaemonSet and a bare Pod may use
directories of their machine, and a DaemonSet may be root without capabilities. bearerd is confined, probed by exec, a native sidecar where
it is beside a program, and all that names something names what is there. The configurations are
written to DIRECTORY, each with a file FILE.env of the variables that go with it.
"""

import pathlib
import sys

import yaml

SAFE_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
ON_NODE = {"DaemonSet", "Pod"}
PROBES = {"startupProbe", "livenessProbe"}


def restricted(kind, spec, containers):
    """Yields what the restricted Pod Security Standard forbids."""
    on_node = kind in ON_NODE
    of_pod = spec.get("securityContext", {})
    for name in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(name):
            yield f"{name} is on"
    if of_pod.get("sysctls"):
        yield "sysctls are set"
    for volume in spec.get("volumes", []):
        kinds = set(volume) - {"name"}
        if not kinds <= SAFE_VOLUMES | ({"hostPath"} if on_node else set()):
            yield f"volume {volume['name']} is {', '.join(sorted(kinds))}"
    for container in containers:
        name, own = container["name"], container.get("securityContext", {})
        def said(key):
            return own.get(key, of_pod.get(key))
        if own.get("privileged") or own.get("allowPrivilegeEscalation") is not False:
            yield f"{name} may gain privileges"
        capabilities = own.get("capabilities", {})
        if capabilities.get("drop") != ["ALL"] or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            yield f"{name} has capabilities"
        if kind != "DaemonSet" and (said("runAsNonRoot") is not True or said("runAsUser") == 0):
            yield f"{name} may be root"
        if said("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name} has no seccomp profile"
        if own.get("procMount", "Default") != "Default":
            yield f"{name} sees all of /proc"
        if any(port.get("hostPort") for port in container.get("ports", [])):
            yield f"{name} takes a port of the node"


def ours(kind, spec, containers):
    """Yields what is wrong with bearerd, and with what it may give away."""
    found = [container for container in containers if container["name"] == "bearerd"]
    if len(found) != 1:
        yield f"{len(found)} containers are called bearerd"
        return
    bearerd, beside = found[0], kind not in ON_NODE
    if spec.get("enableServiceLinks") is not False:
        yield "enableServiceLinks is on: a Service's variables could look like settings"
    if spec.get("automountServiceAccountToken") is not False:
        yield "a token of the Kubernetes API is mounted"
    if beside and (bearerd not in spec.get("initContainers", []) or bearerd.get("restartPolicy") != "Always"):
        yield "bearerd is no native sidecar"
    if not PROBES <= set(bearerd) and kind != "Pod":
        yield f"bearerd has not all of {', '.join(sorted(PROBES))}"
    for name in bearerd:
        if name.endswith("Probe") and bearerd[name].get("exec", {}).get("command", [])[:2] != ["/bearerd", "health"]:
            yield f"{name} does not ask bearerd health"
    for container in containers:
        if container.get("securityContext", {}).get("readOnlyRootFilesystem") is not True:
            yield f"{container['name']} can write its root"
        if not container.get("resources", {}).get("limits", {}).get("memory"):
            yield f"{container['name']} has no limit of memory"
        mounts = {mount["name"]: mount for mount in container.get("volumeMounts", [])}
        for volume in spec.get("volumes", []):
            mount = mounts.get(volume["name"], {"readOnly": True})
            is_key = "secret" in volume or volume["name"] == "key"
            if container is not bearerd and volume["name"] in mounts and is_key:
                yield f"{container['name']} sees the key"
            if mount.get("readOnly") is not True and (container is not bearerd or "socket" not in volume["name"]):
                yield f"{container['name']} can write {volume['name']}"
            if "secret" in volume and volume["secret"].get("defaultMode") != 0o400:
                yield "the Secret's files are open to others"
        for name in set(mounts) - {volume["name"] for volume in spec.get("volumes", [])}:
            yield f"{container['name']} mounts {name}, which is no volume"


def named(documents, labels, spec, containers):
    """Yields names of what is not there."""
    def there(kind):
        return {document["metadata"]["name"] for document in documents if document["kind"] == kind}
    for volume in spec.get("volumes", []):
        if "configMap" in volume and volume["configMap"]["name"] not in there("ConfigMap"):
            yield f"there is no ConfigMap {volume['configMap']['name']}"
    account = spec.get("serviceAccountName")
    if account and account not in there("ServiceAccount"):
        yield f"there is no ServiceAccount {account}"
    ports = {port["name"] for container in containers for port in container.get("ports", [])}
    numbers = {port["containerPort"] for container in containers for port in container.get("ports", [])}
    for document in documents:
        kind = document["kind"]
        selector = {"NetworkPolicy": "podSelector", "PodMonitor": "selector"}.get(kind)
        if selector and not document["spec"][selector]["matchLabels"].items() <= labels.items():
            yield f"{kind} {document['metadata']['name']} does not select the pod"
        if kind == "PodMonitor":
            if set(document["spec"]) != {"selector", "podMetricsEndpoints"}:
                yield "PodMonitor has unknown fields"
            for endpoint in document["spec"]["podMetricsEndpoints"]:
                if endpoint["port"] not in ports or set(endpoint) - {"port", "interval", "relabelings"}:
                    yield f"PodMonitor scrapes {endpoint}"
        if kind == "NetworkPolicy":
            asked = {port["port"] for rule in document["spec"].get("ingress", []) for port in rule.get("ports", [])}
            if asked - numbers:
                yield f"NetworkPolicy lets in to {asked - numbers}"


def main(into, files):
    wrong = pods = 0
    for file in files:
        documents = [document for document in yaml.safe_load_all(pathlib.Path(file).read_text()) if document]
        stem = pathlib.Path(file).stem
        variables = ""
        for document in documents:
            template = document if document["kind"] == "Pod" else document["spec"].get("template") if "spec" in document else None
            if not template:
                continue
            pods += 1
            spec = template["spec"]
            containers = spec.get("initContainers", []) + spec["containers"]
            labels = template["metadata"].get("labels", {})
            for flaw in [*restricted(document["kind"], spec, containers), *ours(document["kind"], spec, containers),
                         *named(documents, labels, spec, containers)]:
                print(f"{file}: {document['kind']}: {flaw}", file=sys.stderr)
                wrong += 1
            variables = "".join(f"{one['name']}={one['value']}\n" for container in containers
                                if container["name"] == "bearerd" for one in container.get("env", []))
        for document in documents:
            for name, text in document.get("data", {}).items() if document["kind"] == "ConfigMap" else ():
                pathlib.Path(into, f"{stem}.{name}").write_text(text)
                pathlib.Path(into, f"{stem}.{name}.env").write_text(variables)
    if not pods or pods < len(files):
        sys.exit(f"only {pods} pods in {len(files)} files")
    print(f"{pods} pods, {wrong} flaws")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
