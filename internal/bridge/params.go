package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// paramPrefix begins the headers that repeat arguments of a tool (2026-07-28). Which
// arguments do is in the tool's schema, by x-mcp-header.
const paramPrefix = "Mcp-Param-"

const (
	// listAge is the age at which a call lists the tools again, in the background.
	listAge = 30 * time.Second
	// listPause is the least time between two listings that calls wait for.
	listPause = time.Second
	// listTime bounds one listing, and listPages its parts.
	listTime  = 10 * time.Second
	listPages = 100
)

// binding is an argument that a header repeats.
type binding struct {
	path   []string // of members, from the arguments
	header string
}

// bindings are those of each tool; nil while they are not known.
type bindings map[string][]binding

// toolHeaders holds the bindings of one process. The server announces changes only to
// subscribers, so the bindings are read again from time to time.
type toolHeaders struct {
	list func(ctx context.Context) (bindings, error)

	mu    sync.Mutex
	known bindings
	began time.Time // when the last listing began
	reads singleflight.Group
}

// agree checks that the headers of a tool call agree with its arguments. Before it
// refuses a call, it lists the tools again.
func (t *toolHeaders) agree(ctx context.Context, h http.Header, m *message) *wrong {
	if m.Method != "tools/call" {
		return nil
	}
	known, age := t.now()
	if known == nil || age > listPause && (!known.has(m) || known.compare(h, m) != nil) {
		known = t.again(ctx)
	} else if age > listAge {
		go t.again(context.Background())
	}
	if known == nil && hasParams(h) {
		return &wrong{http.StatusServiceUnavailable, codeInternal, "the MCP server does not list its tools, so that " + paramPrefix + "… cannot be compared with the arguments"}
	}
	return known.compare(h, m)
}

func (t *toolHeaders) now() (known bindings, age time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known, time.Since(t.began)
}

// again lists the tools, once for all concurrent callers, and returns the bindings.
func (t *toolHeaders) again(ctx context.Context) bindings {
	done := t.reads.DoChan("", func() (any, error) {
		t.mu.Lock()
		recent := time.Since(t.began) < listPause
		if !recent {
			t.began = time.Now()
		}
		t.mu.Unlock()
		if recent {
			return nil, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), listTime)
		defer cancel()
		read, err := t.list(ctx)
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		t.known = read
		t.mu.Unlock()
		return nil, nil
	})
	select {
	case <-done:
	case <-ctx.Done():
	}
	known, _ := t.now()
	return known
}

func hasParams(h http.Header) bool {
	for name := range h {
		if strings.HasPrefix(name, paramPrefix) {
			return true
		}
	}
	return false
}

// readCall returns the name of the tool of a call, and its arguments. Names of members
// count as they are written.
func readCall(m *message) (name string, arguments map[string]json.RawMessage) {
	var params map[string]json.RawMessage
	_ = json.Unmarshal(m.Params, &params) // what is no object names no tool
	name, _ = member(params, "name")
	_ = json.Unmarshal(params["arguments"], &arguments)
	return name, arguments
}

func (b bindings) has(m *message) bool {
	name, _ := readCall(m)
	_, ok := b[name]
	return ok
}

// compare returns the header of a call that differs from its argument.
func (b bindings) compare(h http.Header, m *message) *wrong {
	name, arguments := readCall(m)
	for _, one := range b[name] {
		if text := one.differs(h.Values(paramPrefix+one.header), arguments); text != "" {
			return &wrong{http.StatusBadRequest, codeHeaders, fmt.Sprintf("%s%s, for the argument %.80q, %s", paramPrefix, one.header, strings.Join(one.path, "."), text)}
		}
	}
	return nil
}

// differs says how the values of the header differ from the argument, "" if they agree.
func (one binding) differs(values []string, arguments map[string]json.RawMessage) string {
	raw := argument(arguments, one.path)
	switch {
	case len(values) > 1:
		return "stands more than once"
	case raw == nil && len(values) == 0:
		return ""
	case raw == nil:
		return "has no such argument"
	case len(values) == 0 || values[0] == "":
		return "is missing"
	}
	said, ok := decodeHeader(values[0])
	if !ok {
		return "is not the base64 that it is marked as"
	}
	if !same(said, raw) {
		return "says something else"
	}
	return ""
}

// argument returns the value at a path, nil for none and for null.
func argument(object map[string]json.RawMessage, path []string) json.RawMessage {
	raw := object[path[0]]
	if raw == nil || string(raw) == "null" || len(path) == 1 {
		if string(raw) == "null" {
			return nil
		}
		return raw
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(raw, &inner) != nil {
		return nil
	}
	return argument(inner, path[1:])
}

// maxSafe is the largest whole number that every JSON parser reads exactly.
const maxSafe = 1<<53 - 1

// same reports whether a header equals a value, which can be a string, a whole number
// or a boolean.
func same(said string, raw json.RawMessage) bool {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return false
	}
	switch v := value.(type) {
	case string:
		return said == v
	case bool:
		return said == strconv.FormatBool(v)
	case float64:
		n, err := strconv.ParseFloat(said, 64)
		return err == nil && n == v && n == math.Trunc(n) && math.Abs(n) <= maxSafe
	}
	return false
}

// schema is the part of a tool's inputSchema that binds headers.
type schema struct {
	Header     json.RawMessage   `json:"x-mcp-header"`
	Properties map[string]schema `json:"properties"`
}

func (s schema) bindings(path []string) (all []binding) {
	for name, property := range s.Properties {
		at := append(path[:len(path):len(path)], name)
		var header string
		if json.Unmarshal(property.Header, &header) == nil && header != "" {
			all = append(all, binding{at, header})
		}
		all = append(all, property.bindings(at)...)
	}
	return all
}

var errPages = errors.New("the list of tools has too many parts")

// listTools asks the process for its tools, and returns their bindings.
func (p *process) listTools(ctx context.Context) (bindings, error) {
	all, cursor := bindings{}, ""
	for range listPages {
		params := map[string]any{"_meta": ownMeta}
		if cursor != "" {
			params["cursor"] = cursor
		}
		answer, err := p.exchange(ctx, "tools/list", params)
		if err != nil {
			return nil, err
		}
		if answer.Error != nil {
			if code := codeOf(answer.Error); code == codeNoMethod {
				return all, nil // it has no tools
			}
			return nil, fmt.Errorf("the MCP server answers tools/list with %s", short(answer.Error))
		}
		var page struct {
			Tools []struct {
				Name        string `json:"name"`
				InputSchema schema `json:"inputSchema"`
			} `json:"tools"`
			NextCursor string `json:"nextCursor"`
		}
		if err := json.Unmarshal(answer.Result, &page); err != nil {
			return nil, fmt.Errorf("the MCP server's list of tools cannot be read: %w", err)
		}
		for _, tool := range page.Tools {
			all[tool.Name] = tool.InputSchema.bindings(nil)
		}
		if cursor = page.NextCursor; cursor == "" {
			return all, nil
		}
	}
	return nil, errPages
}
