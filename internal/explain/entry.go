// Package explain says in one screen what became of a sign-in or a request: what
// happened, why, by which rule, and what to do about it. It knows what the audit
// log says and nothing else, so that it can be run far from the service.
package explain

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/audit"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/flows"
	"github.com/mcp-forward-auth/mcp-forward-auth/internal/reasons"
)

// maxLine bounds one line of a log, in bytes. An audit entry has at most some
// twenty fields of 512 bytes each.
const maxLine = 64 << 10

// Entry is one line of the audit log, as it is read back.
type Entry struct {
	Time     time.Time      `json:"time"`
	Event    audit.Event    `json:"event"`
	Reason   reasons.Reason `json:"reason,omitempty"`
	Step     audit.Step     `json:"step,omitempty"`
	Flow     string         `json:"flow,omitempty"`
	Subject  string         `json:"subject,omitempty"`
	Email    string         `json:"email,omitempty"`
	Actor    string         `json:"actor,omitempty"`
	Rules    string         `json:"rules,omitempty"`
	Client   string         `json:"client,omitempty"`
	Name     string         `json:"client_name,omitempty"`
	Redirect string         `json:"redirect,omitempty"`
	Host     string         `json:"host,omitempty"`
	Resource string         `json:"resource,omitempty"`
	Scope    string         `json:"scope,omitempty"`
	Withheld string         `json:"withheld,omitempty"`
	Method   string         `json:"mcp_method,omitempty"`
	Tool     string         `json:"mcp_tool,omitempty"`
	Family   string         `json:"family,omitempty"`
	Cause    string         `json:"cause,omitempty"`
	Count    string         `json:"count,omitempty"`
	// Torn: the line was cut, so that members may be missing.
	Torn bool `json:"-"`
}

// OfFlow returns what a service remembers of a sign-in as entries.
func OfFlow(f flows.Flow) []Entry {
	out := make([]Entry, len(f.Trail))
	for i, e := range f.Trail {
		out[i] = Entry{
			Time: e.At, Event: e.Event, Step: e.Step, Reason: e.Reason,
			Flow: f.ID, Host: f.Host, Resource: f.Resource, Client: f.Client, Name: f.ClientName, Redirect: f.Redirect,
		}
	}
	return out
}

// Searched is what Find saw of a log, for when it found nothing.
type Searched struct {
	Entries     int // audit entries of any flow
	First, Last time.Time
}

// Find returns the entries of a flow in a log, in the order in which they stand
// there. Other lines of the log are passed over, and so are those that are too long.
func Find(log io.Reader, flow string, seen *Searched) ([]Entry, error) {
	var found []Entry
	err := lines(log, func(line []byte) {
		if e, bad := Parse(line); bad == nil {
			seen.note(e.Time)
			if e.Flow == flow {
				found = append(found, e)
			}
		}
	})
	return found, err
}

// ErrEmpty: there is no line to read.
var ErrEmpty = errors.New("there is no line on standard input")

// Last returns the last entry of a log. Without one it says what is wrong with the
// last line that is not empty, or ErrEmpty.
func Last(log io.Reader) (Entry, error) {
	var last Entry
	problem := ErrEmpty
	err := lines(log, func(line []byte) {
		if e, bad := Parse(line); bad == nil {
			last, problem = e, nil
		} else if problem != nil && len(bytes.TrimSpace(line)) > 0 {
			problem = bad
		}
	})
	return last, cmp.Or(err, problem)
}

// lines calls see with each line of a log that is not too long.
func lines(log io.Reader, see func(line []byte)) error {
	for r := bufio.NewReaderSize(log, maxLine); ; {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = r.ReadSlice('\n')
			}
			line = nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		see(line)
		if err == io.EOF {
			return nil
		}
	}
}

func (s *Searched) note(at time.Time) {
	if s.Entries++; s.First.IsZero() || at.Before(s.First) {
		s.First = at
	}
	if at.After(s.Last) {
		s.Last = at
	}
}

// String says what was searched.
func (s *Searched) String() string {
	if s.Entries == 0 {
		return "there is no audit entry in it; the audit log is JSON, one object a line"
	}
	return fmt.Sprintf("it has %d audit entries, from %s to %s", s.Entries, s.First.UTC().Format(time.RFC3339), s.Last.UTC().Format(time.RFC3339))
}
