// Package chart holds the Helm chart to what it promises, with the tools that
// its users have: both majors of Helm, kubectl-validate, kube-score, helm-docs.
// They are ordinary tools of Go modules of their own, so that nothing of them is
// in the product's go.mod. A tool that cannot be had fails its tests as not run.
//
// What needs no tool is tested in the package charts, over the golden files that
// the tests here write: `make chart` runs them, `make chart-update` writes them.
package chart
