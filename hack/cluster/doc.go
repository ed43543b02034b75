// Package cluster installs the Helm chart on a real Kubernetes of one node, with
// real programs around it: etcd, the control plane, kubelet, kube-proxy,
// containerd, runc and CoreDNS, both majors of Helm, an nginx configured by the
// chart's own Ingresses, a Traefik that reads them itself, and an official MCP
// client that signs in through both.
// All of them are built from Go modules that are tools of this module, so that
// nothing of them is in the product's go.mod; what only the system has comes
// from Debian, and Traefik from hack/e2e/install.sh. No Docker, no registry, no daemon. Run it with `make cluster`.
//
// There are two tiers. TestControlPlane and TestUpgradeFromRelease want nothing but Go: the
// API server checks and takes every object of the chart, and nothing runs in pods.
// TestPods wants root on Linux, because the node has network, mount and process
// namespaces of its own, which nothing leaves and which end with the test. Where
// that is not to be had the test says "NOT RUN", and so does the exit status 2
// of run.sh; it never counts as a pass.
package cluster
