//go:build linux

package main

import (
	"io"
	"slices"

	"github.com/mcp-forward-auth/mcp-forward-auth/hack/watched"
)

// bench is what every section works with.
type bench struct {
	out                io.Writer
	service            *service
	reference, subject *watched.Process // the bare handler and the service
	rounds             int
	streams            int // how many can be open at once
}

// median of the rounds; half of the machine's disturbances are above it.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// ratios divides round by round.
func ratios(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] / b[i]
	}
	return out
}

// differences subtracts round by round.
func differences(a, b []float64) []float64 {
	out := make([]float64, len(a))
	for i := range a {
		out[i] = a[i] - b[i]
	}
	return out
}

// quantile of values that are not sorted.
func quantile[T int64 | float64](values []T, q float64) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}
