package conf_test

import (
	"io/fs"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf/conftest"
)

// document is a section with every kind of value and every tag.
type document struct {
	Level    string            `json:"level" default:"info" enum:"debug info"`
	Address  string            `json:"address" like:":8080"`
	Name     string            `json:"name" check:"text"`
	On       conf.Switch       `json:"switch"`
	Count    int               `json:"count" default:"7" min:"0" max:"1000000"`
	Ratio    float64           `json:"ratio" default:"0.5" min:"0" max:"1"`
	Wait     time.Duration     `json:"wait" default:"1m" min:"10s" max:"1h"`
	Networks []netip.Prefix    `json:"networks" max:"3" check:"unique"`
	Scopes   []string          `json:"scopes" check:"scopes"`
	Tools    []string          `json:"tools" check:"patterns"`
	Groups   []string          `json:"groups" check:"groups"`
	Servers  []string          `json:"servers" max:"2" check:"addresses unique"`
	Password conf.Secret       `json:"passwordFile" file:"line"`
	Inline   conf.Secret       `json:"inline"`
	Trusted  []byte            `json:"caFile"`
	Parts    []part            `json:"parts" max:"2"`
	Labels   map[string]string `json:"labels"`
	Shape    shape             `json:"shape"`

	Derived string // of the program
}

type part struct {
	Size int `json:"size" default:"3"`
}

// shape has further keys, which depend on what it is.
type shape struct {
	Kind string `json:"kind"`

	Own any

	Color string `json:"color"`
}

type circle struct {
	Radius int `json:"radius" default:"1"`
}

type square struct {
	Side  int    `json:"side"`
	Label string `json:"label"`
}

func (s *shape) Further() (own any, all []any) {
	all = []any{&circle{}, &square{}}
	if i := map[string]int{"circle": 1, "square": 2}[s.Kind]; i > 0 && s.Own == nil {
		s.Own = all[i-1]
	}
	return s.Own, all
}

func (s *shape) Misplaced() string { return "is not for a " + s.Kind }

func files(name string) ([]byte, error) {
	switch name {
	case "password":
		return []byte("swordfish\n"), nil
	case "two lines":
		return []byte("one\ntwo"), nil
	}
	return nil, fs.ErrNotExist
}

func decode(text string) (document, *conf.Check) {
	var d document
	c := &conf.Check{ReadFile: files}
	c.Decode([]byte(text), &d)
	return d, c
}

func TestDefaults(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"null":          "{level: , count: , wait: , switch: , parts: }",
		"empty text":    `{level: "", wait: "", switch: {enabled: }}`,
		"empty mapping": "{switch: {}, shape: {}}",
	} {
		d, c := decode(text)
		if err := c.Err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d.Level != "info" || d.Count != 7 || d.Ratio != 0.5 || d.Wait != time.Minute || !d.On.Enabled || d.Parts != nil {
			t.Errorf("%s: %+v", name, d)
		}
	}
	d, c := decode("{level: debug, count: 0, ratio: 0, wait: 10s, switch: {enabled: false}, parts: [{}, {size: 0}], shape: {kind: circle}}")
	if err := c.Err(); err != nil || d.Level != "debug" || d.Count != 0 || d.Ratio != 0 || d.Wait != 10*time.Second || d.On.Enabled {
		t.Errorf("what is written: %+v, %v", d, err)
	}
	if !reflect.DeepEqual(d.Parts, []part{{3}, {0}}) || d.Shape.Own.(*circle).Radius != 1 {
		t.Errorf("defaults of entries and of further keys: %+v", d)
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"level: WARN":                          `level: "WARN" is not one of "debug", "info"`,
		"level: 3":                             `level: must be text, not a number; put it in quotes, and write it like "info"`,
		"address: 8080":                        `address: must be text, not a number; put it in quotes, and write it like ":8080"`,
		"address: '${PORT}'":                   "address: holds a variable; write its value (variables are not expanded, here or in the files that this one names)",
		"name: \"a\\u202eb\"":                  "name: holds a control or invisible character",
		"count: 1000001":                       "count: 1000001 is not between 0 and 1000000",
		"count: 1.5":                           "count: must be a whole number, not one with a fraction or that large",
		"ratio: 1.5":                           "ratio: 1.5 is not between 0 and 1",
		"wait: 5s":                             `wait: "5s" is not between 10s and 1h`,
		"wait: soon":                           `wait: "soon" is not a duration such as "30m" or "1h"`,
		"wait: 60":                             `wait: must be text, not a number; put it in quotes, and write it like "1m"`,
		"networks: [10.0.0.1/8]":               `networks[0]: "10.0.0.1/8" has bits beyond its length; did you mean "10.0.0.0/8"?`,
		"networks: ['::ffff:10.0.0.0/104']":    `networks[0]: "::ffff:10.0.0.0/104" is not a network such as "10.0.0.0/8" or "2001:db8::/32"`,
		"networks: ['fd00::/8', 'fd00:0::/8']": `networks[1]: "fd00:0::/8" is listed twice`,
		"networks: [a, b, c, d]":               "networks: has 4 entries; at most 3 are allowed",
		"scopes: [a, a]":                       `scopes[1]: "a" is listed twice`,
		"tools: ['a*b']":                       `tools[0]: "a*b" has an asterisk that is not at its end`,
		"groups: ['a,b']":                      `groups[0]: "a,b" holds a comma; write one group per entry`,
		"servers: [redis]":                     `servers[0]: "redis" is not an address such as "redis.default.svc:6379"`,
		"servers: ['r:1', 'r:1']":              `servers[1]: "r:1" is listed twice`,
		"passwordFile: nowhere":                "passwordFile: there is no such file; a relative path starts at the directory of the configuration file",
		"passwordFile: two lines":              "passwordFile: the file holds more than one line",
		"caFile: password":                     "caFile: the file holds no certificate in PEM",
		"parts: [{}, {}, {}]":                  "parts: has 3 entries; at most 2 are allowed",
		"parts: {}":                            "parts: must be a list, not a mapping",
		"labels: {a: 1}":                       "labels.a: must be text, not a number; put it in quotes",
		"Derived: x":                           "Derived: unknown key; known are level, address, name, switch, count, ratio, wait, networks, scopes, tools, groups, servers, passwordFile, inline, caFile, parts, labels, shape",
		"conut: 1":                             "conut: unknown key; did you mean count?",
		"shape: {kind: circle, side: 1}":       "shape.side: is not for a circle",
		"shape: {kind: circle, sidee: 1}":      "shape.sidee: unknown key; did you mean side?",
		"shape: {kind: square, side: x}":       "shape.side: must be a whole number, not text; leave out the quotes",
		"shape: {raduis: 1}":                   "shape.raduis: unknown key; did you mean radius?",
	} {
		t.Run(text, func(t *testing.T) {
			_, c := decode("{" + text + "}")
			if err := c.Err(); err == nil || err.Error() != want {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	}
	// A key of another kind that says nothing, and one of no known kind, are no mistake here.
	for _, text := range []string{"shape: {kind: circle, side: , label: ''}", "shape: {kind: hexagon, side: 1}"} {
		if _, c := decode(text); c.Err() != nil {
			t.Errorf("%s: %v", text, c.Err())
		}
	}
}

// All mistakes come at once, in the order of the fields; further keys stand where the
// field that holds them does.
func TestOrder(t *testing.T) {
	_, c := decode("{shape: {color: 1, label: 1, kind: square}, parts: [{size: x}], level: x, unknown: 1}")
	var paths []string
	for _, m := range c.Err().(conf.Errors) {
		paths = append(paths, m.Path)
	}
	if got, want := strings.Join(paths, " "), "level parts[0].size shape.label shape.color unknown"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestIsSet(t *testing.T) {
	_, c := decode("{level: debug, count: 0, name: '', networks: [], switch: {enabled: false}, parts: [{}, {size: 1}], labels: {a: b}, shape: {kind: ''}}")
	for at, want := range map[string]bool{
		"level": true, "count": true, "name": false, "networks": false, "switch": false, "switch.enabled": false, "parts": true, "parts[0]": false, "parts[1]": true,
		"parts[1].size": true, "parts[2].size": false, "labels.a": true, "labels": true, "shape": false, "wait": false, "level.below": false,
	} {
		if got := c.IsSet(at); got != want {
			t.Errorf("%s: %v", at, got)
		}
	}
}

func TestSecrets(t *testing.T) {
	d, c := decode("{passwordFile: password}")
	if d.Password.Reveal() != "swordfish" || c.Inline {
		t.Errorf("%q, inline %v", d.Password.Reveal(), c.Inline)
	}
	if d, c := decode("{inline: swordfish}"); d.Inline.Reveal() != "swordfish" || !c.Inline {
		t.Errorf("%q, inline %v", d.Inline.Reveal(), c.Inline)
	}
}

// What conftest writes reads as the same section.
func TestDocument(t *testing.T) {
	d, c := decode(`{level: debug, count: 0, wait: 30s, networks: [10.0.0.0/8], inline: x, switch: {enabled: false}, parts: [{}, {size: 0}], labels: {a: b}, shape: {kind: square, side: 2}}`)
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	text, err := yaml.Marshal(conftest.Document(d))
	if err != nil {
		t.Fatal(err)
	}
	again, c := decode(string(text))
	if err := c.Err(); err != nil || !reflect.DeepEqual(d, again) {
		t.Errorf("%v\n%s\n%+v\n%+v", err, text, d, again)
	}
}
