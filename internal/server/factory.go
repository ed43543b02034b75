package server

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// factory makes metrics, and registers them. Counters continue from one service to the
// next: made again, they are the same. Gauges belong to one service and are removed
// with it, so they show only what is in force.
type factory struct{ lasting, own *prometheus.Registry }

// Gatherer returns what there is to scrape.
func (f factory) Gatherer() prometheus.Gatherer { return prometheus.Gatherers{f.lasting, f.own} }

// register registers c, or returns what is registered in its place.
func register[C prometheus.Collector](r *prometheus.Registry, c C) C {
	err := r.Register(c)
	if known, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		return known.ExistingCollector.(C)
	}
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return c
}

func (f factory) NewCounter(o prometheus.CounterOpts) prometheus.Counter {
	return register(f.lasting, prometheus.NewCounter(o))
}

func (f factory) NewCounterVec(o prometheus.CounterOpts, labels []string) *prometheus.CounterVec {
	return register(f.lasting, prometheus.NewCounterVec(o, labels))
}

func (f factory) NewHistogram(o prometheus.HistogramOpts) prometheus.Histogram {
	return register(f.lasting, prometheus.NewHistogram(o))
}

func (f factory) NewHistogramVec(o prometheus.HistogramOpts, labels []string) *prometheus.HistogramVec {
	return register(f.lasting, prometheus.NewHistogramVec(o, labels))
}

// LastingGauge is a gauge of what continues from one service to the next.
func (f factory) LastingGauge(o prometheus.GaugeOpts) prometheus.Gauge {
	return register(f.lasting, prometheus.NewGauge(o))
}

func (f factory) NewGauge(o prometheus.GaugeOpts) prometheus.Gauge {
	return register(f.own, prometheus.NewGauge(o))
}

func (f factory) NewGaugeVec(o prometheus.GaugeOpts, labels []string) *prometheus.GaugeVec {
	return register(f.own, prometheus.NewGaugeVec(o, labels))
}

func (f factory) NewGaugeFunc(o prometheus.GaugeOpts, value func() float64) prometheus.GaugeFunc {
	return register(f.own, prometheus.NewGaugeFunc(o, value))
}
