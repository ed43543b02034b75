package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

const (
	// maxDepth bounds how deep an entry may stand: journald, Docker and log stores put
	// a line as text into an object of their own, and a few of them may follow each other.
	maxDepth = 12
	// maxObjects bounds how many braces of one line are tried as the beginning of an object.
	maxObjects = 32
)

// errNoEntry: a line holds no audit entry.
var errNoEntry = errors.New(`no audit entry: it is a JSON object with "event", or a log line with that in "audit"`)

// Parse reads one line of a log, as the service wrote it or as a log store shows it:
// behind a date, a pod's name or labels, or as text in an object of its own (docker logs,
// journalctl -o json, Loki, Elasticsearch, Cloud Logging). Of a line that was cut it reads
// what is left, if the event is. It fails if the line holds no audit entry.
func Parse(line []byte) (Entry, error) {
	if len(line) > maxLine {
		return Entry{}, fmt.Errorf("the line has %d bytes; an audit entry has at most %d", len(line), maxLine)
	}
	if !bytes.Contains(line, []byte("event")) {
		return Entry{}, ordinary(line)
	}
	e, whole, ok := inText(string(line), time.Time{}, 0)
	if !ok && !whole {
		e, ok = torn(string(line))
	}
	if !ok {
		return Entry{}, ordinary(line)
	}
	return e, nil
}

// ordinary says of a line without an entry what it is, where that can be seen.
func ordinary(line []byte) error {
	var log struct{ Level, Msg string }
	start := bytes.IndexByte(line, '{')
	if start < 0 || json.NewDecoder(bytes.NewReader(line[start:])).Decode(&log) != nil || log.Level == "" || log.Msg == "" {
		return errNoEntry
	}
	return fmt.Errorf("no audit entry, but a line of the log, which says itself what is wrong: %q; lines of the same time with \"audit\" have what came of it", printable(log.Msg))
}

// inText looks for an entry in the JSON objects of a text. whole reports whether the
// text has an object that is not cut.
func inText(text string, at time.Time, depth int) (e Entry, whole, ok bool) {
	for range maxObjects {
		start := strings.IndexByte(text, '{')
		if start < 0 {
			return Entry{}, whole, false
		}
		text = text[start:]
		var object map[string]any
		d := json.NewDecoder(strings.NewReader(text))
		if d.Decode(&object) != nil {
			text = text[1:]
			continue
		}
		whole = true
		if e, ok := inValue(object, at, depth); ok {
			return e, whole, true
		}
		text = text[d.InputOffset():]
	}
	return Entry{}, whole, false
}

// inValue looks for an entry in a value and in what it holds. at is the time of what is
// around it.
func inValue(value any, at time.Time, depth int) (Entry, bool) {
	if depth > maxDepth {
		return Entry{}, false
	}
	switch v := value.(type) {
	case string:
		e, _, ok := inText(v, at, depth+1)
		return e, ok
	case []any:
		for _, inner := range v {
			if e, ok := inValue(inner, at, depth+1); ok {
				return e, true
			}
		}
	case map[string]any:
		if text, ok := v["time"].(string); ok {
			if t, err := time.Parse(time.RFC3339, text); err == nil {
				at = t
			}
		}
		if e, ok := asEntry(v, at); ok {
			return e, true
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if e, ok := inValue(v[name], at, depth+1); ok {
				return e, true
			}
		}
	}
	return Entry{}, false
}

// asEntry reads an object that is an entry itself. Other programs have events, too:
// one of this service has a schema, or a name that is known.
func asEntry(object map[string]any, at time.Time) (Entry, bool) {
	event, _ := object["event"].(string)
	if _, hasSchema := object["schema"]; event == "" || !hasSchema && !slices.Contains(audit.Events, audit.Event(event)) {
		return Entry{}, false
	}
	delete(object, "time") // at is it
	text, err := json.Marshal(object)
	if err != nil {
		return Entry{}, false
	}
	e := Entry{}
	if json.Unmarshal(text, &e) != nil {
		return Entry{}, false
	}
	e.Time = at
	return e, true
}

// member is one member of an object that is text. Its value may be cut.
var member = regexp.MustCompile(`"([a-z_]+)"\s*:\s*"((?:[^"\\]|\\.)*)("?)`)

// torn reads what is left of a line that was cut at one end, or copied with the
// backslashes of a text within a text.
func torn(text string) (Entry, bool) {
	for range maxDepth {
		if !strings.Contains(text, `\"event`) {
			break
		}
		text = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(text)
	}
	object, at := map[string]any{}, time.Time{}
	for _, m := range member.FindAllStringSubmatch(text, -1) {
		name, cut := m[1], m[3] == ""
		var value string
		if json.Unmarshal([]byte(`"`+m[2]+`"`), &value) != nil || cut && name != "cause" {
			continue
		}
		if cut {
			value += "…"
		}
		if t, err := time.Parse(time.RFC3339, value); err == nil && at.IsZero() && name == "time" {
			at = t
		}
		if _, twice := object[name]; !twice {
			object[name] = value
		}
	}
	delete(object, "schema") // of a line that is not whole the event has to be known
	e, ok := asEntry(object, at)
	e.Torn = true
	return e, ok
}

var (
	flowID = regexp.MustCompile(`(?i)^(?:"?(?:flow|sign-in|reference)"?\s*[:=]?\s*)?"?([a-z2-7]{16})"?[.,;]?$`)
	named  = regexp.MustCompile(`(?i)^(?:"?reason"?\s*[:=]\s*)?"?([a-z_]+)"?[.,;]?$`)
)

// FlowID returns the id of a sign-in that a text is, as a page or a line of the log
// shows it, "" if it is none.
func FlowID(text string) string {
	m := flowID.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return ""
	}
	return strings.ToLower(m[1])
}

// Reason returns the reason that a text is, as a line of the log shows it, "" if it is none.
func Reason(text string) reasons.Reason {
	m := named.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return ""
	}
	r := reasons.Reason(strings.ToLower(m[1]))
	if r.Meaning() == "" {
		return ""
	}
	return r
}
