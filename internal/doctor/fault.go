package doctor

import (
	_ "embed"
	"fmt"
	"slices"

	"sigs.k8s.io/yaml"
)

// Check is one question, and every fault that can be its answer.
type Check struct {
	ID     string  `json:"check"`
	Group  string  `json:"group"`
	Title  string  `json:"title"`
	Faults []Fault `json:"faults"`
	// Every is one more fault for each of the problems that any document
	// or endpoint can have.
	Every *struct {
		What string `json:"what"`
		Why  string `json:"why"`
		// Except are the problems that cannot be seen there.
		Except []string `json:"except"`
	} `json:"every"`
}

// Fault is something that can be wrong. Its id is stable: scripts rely on it.
type Fault struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Why    string `json:"why"`    // which client breaks, and how
	Remedy string `json:"remedy"` // for any gateway
	// Topic is the section of a gateway's recipe that corrects the fault, "" if the
	// gateway is not at fault.
	Topic Topic `json:"topic,omitempty"`
}

// Topic is a heading that every recipe has.
type Topic string

// Topics lists the headings in the order in which recipes have them.
var Topics = []Topic{topicGate, topicPublic, topicStepUp, topicCORS, topicHeaders, topicStreaming}

const (
	topicGate      Topic = "Gate"
	topicPublic    Topic = "Public paths"
	topicStepUp    Topic = "Step-up"
	topicCORS      Topic = "Browser clients"
	topicHeaders   Topic = "Header size"
	topicStreaming Topic = "Streaming"
)

// problem is what can be wrong with an answer, whatever was asked for.
type problem string

// Each of these but fine is a row of faults.yaml.
const (
	fine        problem = ""
	missing     problem = "missing"
	protected   problem = "protected"
	swallowed   problem = "swallowed"
	redirected  problem = "redirected"
	failing     problem = "failing"
	misdirected problem = "misdirected"
	malformed   problem = "malformed"
	filtered    problem = "filtered"
	limited     problem = "limited"
	noOrigin    problem = "origin"
	unreachable problem = "unreachable"
)

//go:embed faults.yaml
var faultsYAML []byte

// checks holds every check and fault, in the order of faults.yaml and of steps.
var checks = readChecks(faultsYAML)

// Checks lists every check in the order in which they run.
func Checks() []Check { return slices.Clone(checks) }

// readChecks reads faults.yaml. It panics at a mistake in it: the file is part
// of the program.
func readChecks(text []byte) []Check {
	var file struct {
		Problems []Fault `json:"problems"`
		Checks   []Check `json:"checks"`
	}
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		panic(err)
	}
	for i := range file.Checks {
		c := &file.Checks[i]
		own := c.Faults
		c.Faults = nil
		if c.Every != nil {
			for _, p := range file.Problems {
				if slices.Contains(c.Every.Except, p.ID) {
					continue
				}
				p.Title, p.Why, p.Topic = c.Every.What+" "+p.Title, c.Every.Why, topicPublic
				c.Faults = append(c.Faults, p)
			}
		}
		c.Faults = append(c.Faults, own...)
		for j := range c.Faults {
			c.Faults[j].ID = c.ID + "." + c.Faults[j].ID
		}
	}
	return file.Checks
}

// fault returns the fault with an id. Every id in the code is tested.
func fault(id string) Fault {
	for _, c := range checks {
		for _, f := range c.Faults {
			if f.ID == id {
				return f
			}
		}
	}
	panic(fmt.Sprintf("doctor: there is no fault %q", id))
}
