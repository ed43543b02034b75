package filter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// names is a view of what is in it.
type names string

func (n names) Shows(method, name string) bool {
	return strings.Contains(" "+string(n)+" ", " "+method+":"+name+" ")
}

const some = names("tools/call:a tools/call:c prompts/get:p resources/read:note://x resources/templates/list:note://{id}")

// resultOf is the result of a message that is no batch.
func resultOf(message string) (result []byte, ok bool) {
	var m struct{ Result json.RawMessage }
	err := json.Unmarshal([]byte(message), &m)
	return m.Result, err == nil && m.Result != nil
}

func TestMessage(t *testing.T) {
	for name, tt := range map[string]struct{ in, want string }{
		"tools":           {`{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"b"},{"name":"c"}]}}`, `{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"a"},{"name":"c"}]}}`},
		"the first":       {`{"result":{"tools":[{"name":"b"},{"name":"a"}]}}`, `{"result":{"tools":[{"name":"a"}]}}`},
		"the last":        {`{"result":{"tools":[{"name":"a"},{"name":"b"}]}}`, `{"result":{"tools":[{"name":"a"}]}}`},
		"all":             {`{"result":{"tools":[{"name":"b"},{"name":"d"}],"nextCursor":"x"}}`, `{"result":{"tools":[],"nextCursor":"x"}}`},
		"none":            {"{\"result\" : {\"tools\":[ {\"name\":\"a\"} ,\n{\"name\":\"c\"} ] } }", "{\"result\" : {\"tools\":[ {\"name\":\"a\"} ,\n{\"name\":\"c\"} ] } }"},
		"empty":           {`{"result":{"tools":[]}}`, `{"result":{"tools":[]}}`},
		"unknown members": {`{"result":{"x":[1,2.50,{"tools":[{"name":"b"}]}],"tools":[{"x":1e5,"name":"a","y":"\u0041"},{"name":"b"}],"z":null},"id":7}`, `{"result":{"x":[1,2.50,{"tools":[{"name":"b"}]}],"tools":[{"x":1e5,"name":"a","y":"\u0041"}],"z":null},"id":7}`},
		"escaped name":    {`{"result":{"tools":[{"name":"\u0062"},{"name":"\u0061"}]}}`, `{"result":{"tools":[{"name":"\u0061"}]}}`},
		"escaped member":  {`{"result":{"\u0074ools":[{"n\u0061me":"b"}]}}`, `{"result":{"\u0074ools":[]}}`},
		"prompts":         {`{"result":{"prompts":[{"name":"p"},{"name":"a"}]}}`, `{"result":{"prompts":[{"name":"p"}]}}`},
		"resources":       {`{"result":{"resources":[{"uri":"note://x","name":"b"},{"uri":"note://y","name":"a"}]}}`, `{"result":{"resources":[{"uri":"note://x","name":"b"}]}}`},
		"templates":       {`{"result":{"resourceTemplates":[{"uriTemplate":"note://{id}"},{"uriTemplate":"b://{id}"}]}}`, `{"result":{"resourceTemplates":[{"uriTemplate":"note://{id}"}]}}`},
		"public":          {`{"result":{"resultType":"complete","tools":[{"name":"a"}],"ttlMs":5,"cacheScope":"public"}}`, `{"result":{"resultType":"complete","tools":[{"name":"a"}],"ttlMs":5,"cacheScope":"private"}}`},
		"no scope":        {`{"result":{"tools":[{"name":"b"}],"ttlMs":5}}`, `{"result":{"cacheScope":"private","tools":[],"ttlMs":5}}`},
		"scope first":     {`{"result":{"cacheScope":"public","tools":[{"name":"b"}]}}`, `{"result":{"cacheScope":"private","tools":[]}}`},
		"no list":         {`{"result":{"content":[{"name":"b"}],"cacheScope":"public"}}`, `{"result":{"content":[{"name":"b"}],"cacheScope":"public"}}`},
		"error":           {`{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"tools"}}`, `{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"tools"}}`},
		"notification":    {`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`, `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`},
		"batch":           {`[{"id":1,"result":{"tools":[{"name":"b"}]}},{"id":2,"result":{}},{"id":3,"result":{"tools":[{"name":"b"},{"name":"a"}]}}]`, `[{"id":1,"result":{"tools":[]}},{"id":2,"result":{}},{"id":3,"result":{"tools":[{"name":"a"}]}}]`},
		"declared scopes": {`{"result":{"tools":[{"name":"a"}],"_meta":{"scopes":[{"name":"s","tools":["a","b"]},{"name":"t","tools":["b"]},{"name":"u","tools":["c"]},{"name":"v"}],"x":1}}}`, `{"result":{"tools":[{"name":"a"}],"_meta":{"scopes":[{"name":"s","tools":["a"]},{"name":"u","tools":["c"]},{"name":"v"}],"x":1}}}`},
		"scopes of none":  {`{"result":{"tools":[{"name":"b"}],"_meta":{"scopes":[{"name":"t","tools":["b"]}]}}}`, `{"result":{"tools":[],"_meta":{"scopes":[]}}}`},
		"scopes all":      {`{"result":{"tools":[],"_meta":{"scopes":[ {"tools":["a", "c"]} ]}}}`, `{"result":{"tools":[],"_meta":{"scopes":[ {"tools":["a", "c"]} ]}}}`},
		"odd scopes":      {`{"result":{"tools":[],"_meta":{"scopes":[1,"b",{"tools":"b"},{"tools":["a",7]}]}}}`, `{"result":{"tools":[],"_meta":{"scopes":[{"tools":["a"]}]}}}`},
		"tools of scopes": {`{"result":{"tools":[],"_meta":{"scopes":[{"tools":["a","b"]}]}}}`, `{"result":{"tools":[],"_meta":{"scopes":[{"tools":["a"]}]}}}`},
		"other metadata":  {`{"result":{"tools":[],"_meta":{"x":[{"tools":["b"]}],"scopes":{"tools":["b"]}}}}`, `{"result":{"tools":[],"_meta":{"x":[{"tools":["b"]}],"scopes":{"tools":["b"]}}}}`},
		"scope of none":   {`{"result":{"tools":[],"_meta":{"scopes":[{"name":"t","tools":["b"]},{"name":"w","tools":[]}]}}}`, `{"result":{"tools":[],"_meta":{"scopes":[{"name":"w","tools":[]}]}}}`},
		"white space":     {`{"result": {"tools": [ {"name":"b"} , {"name":"a"} ] , "cacheScope" : "public" , "_meta":{"scopes": [ {"tools":["b"]} , {"tools": [ "b" , "c" ]} ]}}}`, `{"result": {"tools": [{"name":"a"}] , "cacheScope" : "private" , "_meta":{"scopes": [{"tools": ["c"]}]}}}`},
		"other result":    {`{"id":1,"result":[{"name":"b"}]}`, `{"id":1,"result":[{"name":"b"}]}`},
		"longest batch":   {"[" + strings.Repeat(`{"id":1},`, maxMessages-1) + `{"id":1}]`, "[" + strings.Repeat(`{"id":1},`, maxMessages-1) + `{"id":1}]`},
		"no scopes":       {`{"result":{"tools":[],"_meta":null}}`, `{"result":{"tools":[],"_meta":null}}`},
	} {
		t.Run(name, func(t *testing.T) {
			var c Cache
			for range 3 {
				for _, f := range []func([]byte, View) ([]byte, error){Message, c.Message} {
					got, err := f([]byte(tt.in), some)
					if err != nil || string(got) != tt.want || !json.Valid(got) {
						t.Errorf("%v\n%s\nwant\n%s", err, got, tt.want)
					}
				}
				in, isResult := resultOf(tt.in)
				want, _ := resultOf(tt.want)
				for _, f := range []func([]byte, View) ([]byte, error){Result, c.Result} {
					if got, err := f(in, some); isResult && in[0] == '{' && (err != nil || string(got) != string(want)) {
						t.Errorf("%v\n%s\nwant\n%s", err, got, want)
					}
				}
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, in := range map[string]string{
		"nothing": "", "text": `"tools"`, "cut": `{"result":{"tools":[{"name":"a"}`, "two": `{"result":{}}{"result":{}}`, "not UTF-8": "{\"result\":\"\xff\"}", "null": `null`,
		"two results": `{"result":{"tools":[]},"result":{"tools":[{"name":"b"}]}}`, "result in another case": `{"Result":{"tools":[{"name":"b"}]}}`,
		"two lists": `{"result":{"tools":[],"tools":[{"name":"b"}]}}`, "list in another case": `{"result":{"Tools":[{"name":"b"}]}}`,
		"two names": `{"result":{"tools":[{"name":"a","name":"b"}]}}`, "name in another case": `{"result":{"tools":[{"name":"a","Name":"b"}]}}`,
		"no name": `{"result":{"tools":[{"title":"b"}]}}`, "name no text": `{"result":{"tools":[{"name":1}]}}`, "half a pair": `{"result":{"tools":[{"name":"\ud800"}]}}`, "NUL": `{"result":{"tools":[{"name":"a\u0000b"}]}}`,
		"no list": `{"result":{"tools":{"name":"b"}}}`, "list of texts": `{"result":{"tools":["b"]}}`, "list of lists": `{"result":{"tools":[[{"name":"b"}]]}}`, "list null": `{"result":{"tools":null}}`,
		"prototype": `{"result":{"__proto__":{"tools":[{"name":"b"}]}}}`, "batch of texts": `["b"]`, "long batch": "[" + strings.Repeat(`{"id":1},`, maxMessages) + `{"id":1}]`,
		"deep": `{"result":{"tools":[],"x":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + `}}`, "large": `{"result":"` + strings.Repeat("a", MaxBytes) + `"}`,
		"scope of half a pair": `{"result":{"tools":[],"_meta":{"scopes":[{"tools":["\ud800"]}]}}}`,
		"scopes twice":         `{"result":{"tools":[],"_meta":{"scopes":[],"scopes":[{"tools":["b"]}]}}}`,
	} {
		var c Cache
		for _, f := range []func([]byte, View) ([]byte, error){Message, c.Message} {
			if got, err := f([]byte(in), some); err == nil || got != nil {
				t.Errorf("%s: %v, %.100s", name, err, got)
			}
		}
		result, ok := strings.CutPrefix(in, `{"result":`)
		for _, f := range []func([]byte, View) ([]byte, error){Result, c.Result} {
			if got, err := f([]byte(strings.TrimSuffix(result, "}")), some); ok && (err == nil || got != nil) {
				t.Errorf("result, %s: %v, %.100s", name, err, got)
			}
		}
	}
}

// Whatever is passed over is bounded too, and as deep as the bound it passes.
func TestBounds(t *testing.T) {
	for place, levels := range map[string]int{
		`{"params":%s}`: 1, `{"result":%s}`: 1, `{"result":{"x":%s}}`: 2, `{"result":{"tools":[{"name":"a","x":%s}]}}`: 4, `{"result":{"cacheScope":%s}}`: 2, `{"result":{"_meta":%s}}`: 2, `{"result":{"_meta":{"x":%s}}}`: 3,
		`{"result":{"_meta":{"scopes":[%s]}}}`: 4, `{"result":{"_meta":{"scopes":[{"x":%s}]}}}`: 5, `{"result":{"_meta":{"scopes":[{"tools":{"x":%s}}]}}}`: 6, `{"result":{"_meta":{"scopes":[{"tools":[%s]}]}}}`: 6,
	} {
		for over, want := range map[int]error{0: nil, 1: ErrUnreadable} {
			n := maxDepth - levels + over
			if _, err := Message(fmt.Appendf(nil, place, strings.Repeat("[", n)+strings.Repeat("]", n)), some); !errors.Is(err, want) {
				t.Errorf("%s, %d levels: %v; want %v", place, levels+n, err, want)
			}
		}
	}
	var c Cache
	for n, want := range map[int]error{MaxBytes: nil, MaxBytes + 1: ErrTooLarge} {
		value := `{"x":"` + strings.Repeat("a", n-len(`{"x":""}`)) + `"}`
		for _, f := range []func([]byte, View) ([]byte, error){c.Message, c.Result} {
			if got, err := f([]byte(value), some); !errors.Is(err, want) || (want == nil) != (string(got) == value) {
				t.Errorf("%d bytes: %d bytes, %v; want %v", n, len(got), err, want)
			}
		}
	}
	for n, want := range map[int]int{maxRemembered: 2, maxRemembered + 1: 0} {
		var c Cache
		result := `{"x":"` + strings.Repeat("a", n-len(`{"x":""}`)) + `"}`
		c.Message([]byte(`{"result":`+result+`}`), some)
		c.Result([]byte(result), names("others"))
		if len(c.views) != want {
			t.Errorf("a result of %d bytes: %d views remember it, want %d", n, len(c.views), want)
		}
	}
}

// A result that is known is found whatever is around it, and nothing else counts as
// one.
func TestCache(t *testing.T) {
	const result = `{"tools":[{"name":"a"},{"name":"b"}]}`
	var c Cache
	for _, in := range []string{
		`{"jsonrpc":"2.0","id":1,"result":RESULT}`, `{"jsonrpc":"2.0","id":"two","result":RESULT}`, `{"result":RESULT,"jsonrpc":"2.0","id":3}`, `{"result": RESULT ,"x":{"y":[]}}`,
	} {
		got, err := c.Message([]byte(strings.Replace(in, "RESULT", result, 1)), some)
		if want := strings.Replace(in, "RESULT", `{"tools":[{"name":"a"}]}`, 1); err != nil || string(got) != want {
			t.Errorf("%s: %v %s", in, err, got)
		}
	}
	if len(c.views[some].results) != 1 {
		t.Errorf("%d results are remembered", len(c.views[some].results))
	}
	for _, in := range []string{ // where the list is not the result
		`{"id":RESULT,"result":{"tools":[{"name":"b"}]}}`, `{"x":RESULT,"result":{"tools":[{"name":"b"}]}}`, `{"result":{"x":RESULT,"tools":[{"name":"b"}]}}`,
	} {
		got, err := c.Message([]byte(strings.Replace(in, "RESULT", result, 1)), some)
		if want := strings.Replace(in, "RESULT", result, 1); err != nil || string(got) != strings.Replace(want, `"tools":[{"name":"b"}]`, `"tools":[]`, 1) {
			t.Errorf("%s: %v %s", in, err, got)
		}
	}
	for _, in := range []string{`{"result":RESULT,"result":{}}`, `{"result":RESULT`, `{"result":RESULT}{}`, `{"result":RESULT,"Result":1}`, `{"result":RESULT,}`, `{"result":RESULTx}`} {
		if got, err := c.Message([]byte(strings.Replace(in, "RESULT", result, 1)), some); err == nil {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got, _ := c.Message([]byte(`{"result":`+result+`}`), names("tools/call:b")); string(got) != `{"result":{"tools":[{"name":"b"}]}}` {
		t.Errorf("another view: %s", got)
	}
	// Results alone: each is its own, and the last ones are kept.
	const view = names("tools/call:1 tools/call:3")
	for i := range resultsOfView + 1 {
		for _, want := range []string{fmt.Sprint(i % 2), fmt.Sprint(i % 2)} {
			got, err := c.Result(fmt.Appendf(nil, `{"tools":[{"name":"%d"}],"page":%d}`, i, i), view)
			if shown := strings.Contains(string(got), "name"); err != nil || shown != (want == "1") {
				t.Errorf("result %d: %v %s", i, err, got)
			}
		}
		if n := len(c.views[view].results); n != min(i+1, resultsOfView) {
			t.Errorf("%d results are remembered of %d", n, i+1)
		}
	}
	for i := range 10 * maxViews { // bounded
		c.Message(fmt.Appendf(nil, `{"result":{"tools":[{"name":"%d"}]}}`, i), names(fmt.Sprint(i%(2*maxViews))))
		size := 0
		for _, s := range c.views {
			for _, r := range s.results {
				size += len(r.from) + len(r.to)
			}
		}
		if len(c.views) > maxViews || size != c.size {
			t.Fatalf("%d views; %d bytes are counted as %d", len(c.views), size, c.size)
		}
	}
	c.size = maxAll + 1
	if c.Result([]byte(`{"x":1}`), some); len(c.views) != 1 || c.size != 2*len(`{"x":1}`) {
		t.Errorf("%d views of %d bytes are left where there were too many bytes", len(c.views), c.size)
	}
}

func TestEvents(t *testing.T) {
	const list, shown = `{"id":1,"result":{"tools":[{"name":"a"},{"name":"b"}]}}`, `{"id":1,"result":{"tools":[{"name":"a"}]}}`
	for name, tt := range map[string]struct{ in, want string }{
		"event":             {"event: message\ndata: " + list + "\n\n", "event: message\ndata: " + shown + "\n\n"},
		"id after":          {"data: " + list + "\nid: 7\nretry: 3\n\n", "data: " + shown + "\nid: 7\nretry: 3\n\n"},
		"CRLF":              {"event: message\r\ndata: " + list + "\r\n\r\ndata: {}\r\n\r\n", "event: message\r\ndata: " + shown + "\r\n\r\ndata: {}\r\n\r\n"},
		"CR":                {"data: " + list + "\r\rdata: {}\r\r", "data: " + shown + "\n\ndata: {}\n\n"},
		"both ends":         {"data: {}\r\n\ndata: {}\r\r\n", "data: {}\r\n\ndata: {}\n\r\n"},
		"no space":          {"data:" + list + "\n\n", "data: " + shown + "\n\n"},
		"several lines":     {"data: {\"id\":1,\ndata: \"result\":{\"tools\":[{\"name\":\"a\"},\ndata: {\"name\":\"b\"}]}}\n\n", "data: {\"id\":1,\ndata: \"result\":{\"tools\":[{\"name\":\"a\"}]}}\n\n"},
		"comment":           {": ping\n\n", ": ping\n\n"},
		"event that begins": {"id: 1\ndata:\n\ndata: " + list + "\n\n", "id: 1\ndata:\n\ndata: " + shown + "\n\n"},
		"data alone":        {"data\n\n", "data\n\n"},
		"byte order mark":   {"\ufeffdata: " + list + "\n\n", "data: " + shown + "\n\n"},
		"other field":       {"database: b\ndata: {}\n\n", "database: b\ndata: {}\n\n"},
		"an address":        {"event: endpoint\ndata: /messages\n\n", "event: endpoint\ndata: /messages\n\n"},
		"another event":     {"event: ping\ndata: now\n\nevent: list\ndata: " + list + "\n\n", "event: list\ndata: " + shown + "\n\n"},
		"no event":          {"event:\ndata: " + list + "\n\n", "event:\ndata: " + shown + "\n\n"},
		"LF and CR":         {"data: " + list + "\nid: 1\n\ndata: {}\r\r", "data: " + shown + "\nid: 1\n\ndata: {}\n\n"},
		"LF before CR":      {"\ndata: " + list + "\r\r", "\ndata: " + shown + "\n\n"},
		"as it came":        {"data:{}\n\n", "data:{}\n\n"},
		"one letter more":   {"dataa\ndata: " + list + "\n\n", "dataa\ndata: " + shown + "\n\n"},
		"first line empty":  {"data\ndata: " + list + "\n\n", "data: \ndata: " + shown + "\n\n"},
		"mark later":        {"data: {}\n\n\ufeffdata: x\n\n", "data: {}\n\n\ufeffdata: x\n\n"},
		"without an end":    {"data: {}\n\ndata: " + list + "\n", "data: {}\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, from := range map[string]io.Reader{"whole": strings.NewReader(tt.in), "byte by byte": iotest.OneByteReader(strings.NewReader(tt.in))} {
				got, err := io.ReadAll(NewEvents(from, func(m []byte) ([]byte, error) { return Message(m, some) }))
				want := tt.want
				if kind == "byte by byte" {
					want, got = lineEnds.Replace(want), []byte(lineEnds.Replace(string(got)))
				}
				if err != nil || string(got) != want {
					t.Errorf("%s: %v\n%q\nwant\n%q", kind, err, got, want)
				}
			}
		})
	}
	for name, in := range map[string]string{
		"no JSON": "data: {}\n\ndata: b\n\n", "unreadable list": "data: {}\n\nevent: message\ndata: {\"result\":{\"tools\":[{}]}}\n\n", "no JSON, no event": "data: {}\n\nevent:\ndata: b\n\n", "long event": "data: {}\n\n" + strings.Repeat("data: "+strings.Repeat(" ", MaxBytes/8)+"\n", 8) + "\n",
		"long line": "data: {}\n\ndata: " + strings.Repeat("b", MaxBytes+1),
	} {
		got, err := io.ReadAll(NewEvents(strings.NewReader(in), func(m []byte) ([]byte, error) { return Message(m, some) }))
		if err == nil || string(got) != "data: {}\n\n" {
			t.Errorf("%s: %v %.100q", name, err, got)
		}
	}
}

// An event is passed on when it is there, not when the next one comes.
func TestEventsAtOnce(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	events := NewEvents(r, func(m []byte) ([]byte, error) { return m, nil })
	for _, end := range []string{"\n\n", "\r\n\r\n", "\r\r"} {
		go io.WriteString(w, "data: {}"+end)
		buf := make([]byte, 64)
		if n, err := events.Read(buf); err != nil || !strings.HasPrefix(string(buf[:n]), "data: {}") {
			t.Errorf("%q %v", buf[:n], err)
		}
	}
}

// A stream that waits holds no memory of a long event.
func TestEventsIdle(t *testing.T) {
	long := "data: " + strings.Repeat("x", 2*maxIdle) + "\n\n"
	events := NewEvents(strings.NewReader(long+"data: {}\n\n"), func(m []byte) ([]byte, error) { return m, nil })
	if _, err := io.ReadFull(events, make([]byte, len(long))); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(events); err != nil || string(rest) != "data: {}\n\n" || events.ready.Cap() > maxIdle {
		t.Errorf("%q, %v; %d bytes are held", rest, err, events.ready.Cap())
	}
}

// What a filter leaves of a list that encoding/json reads is what that would leave.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(`{"result":{"tools":[{"name":"a"},{"name":"b"}],"_meta":{"scopes":[{"name":"s","tools":["a","b"]}]},"ttlMs":1}}`))
	f.Add([]byte(`{"result":{"prompts":[{"name":"p"},{"name":"q"}],"cacheScope":"public"}}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var c Cache
		out, err := Message(in, some)
		first, err1 := c.Message(in, some)
		second, err2 := c.Message(in, some)
		if !errors.Is(err, err1) || !errors.Is(err1, err2) || !bytes.Equal(out, first) || !bytes.Equal(first, second) {
			t.Fatalf("%q: %s %v, %s %v, %s %v", in, out, err, first, err1, second, err2)
		}
		if err != nil {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q becomes %q", in, out)
		}
		type page struct {
			Result struct {
				Tools []struct{ Name string }
				Meta  struct {
					Scopes []struct{ Tools []string }
				} `json:"_meta"`
			}
		}
		var p page
		if json.Unmarshal(out, &p) != nil {
			return
		}
		for _, tool := range p.Result.Tools {
			if !some.Shows("tools/call", tool.Name) {
				t.Errorf("%q shows %q", in, tool.Name)
			}
		}
	})
}

// forty is a list as servers have it: 40 tools in 13 KB.
func forty(id int) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"jsonrpc":"2.0","id":%d,"result":{"tools":[`, id)
	for i := range 40 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"tool_%d","description":"%s","inputSchema":{"type":"object","properties":{"path":{"type":"string"},"depth":{"type":"integer"}},"required":["path"]}}`, i, strings.Repeat("What it does. ", 13))
	}
	return []byte(b.String() + `]}}`)
}

type even struct{}

func (even) Shows(_, name string) bool { return (name[len(name)-1]-'0')%2 == 0 }

func BenchmarkMessage(b *testing.B) {
	message := forty(1)
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Message(message, even{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCache(b *testing.B) {
	var c Cache
	messages := make([][]byte, 64) // each request has an id of its own
	for i := range messages {
		messages[i] = forty(i)
	}
	b.SetBytes(int64(len(messages[0])))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := c.Message(messages[i%64], even{}); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkEvents(b *testing.B) {
	var c Cache
	event := "event: message\ndata: " + string(forty(1)) + "\n\n"
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := io.Copy(io.Discard, NewEvents(strings.NewReader(event), func(m []byte) ([]byte, error) { return c.Message(m, even{}) })); err != nil {
			b.Fatal(err)
		}
	}
}

// lineEnds makes each end of a line an LF.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// However a stream is cut on its way, the same of it is passed on, but for how its lines
// end: a CR is passed on before it is known whether an LF follows.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{
		"data: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"tools\":[{\"name\":\"read\"},{\"name\":\"delete\"}]}}\n\n", "\ufeff: hello\r\n\r\ndata: {}\r\rdata: x\n\n",
		"event: endpoint\ndata: /messages\n\n", "data\n\n", "\r", "\n\n\n", "id: 1\ndata: cut", "data: {}\r\n\ndata: {}\n\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, stream string) {
		read := func(from io.Reader) (string, error) {
			got, err := io.ReadAll(NewEvents(from, func(m []byte) ([]byte, error) { return Message(m, some) }))
			return string(got), err
		}
		whole, err := read(strings.NewReader(stream))
		pieces, cut := read(iotest.OneByteReader(strings.NewReader(stream)))
		if lineEnds.Replace(whole) != lineEnds.Replace(pieces) || (err == nil) != (cut == nil) {
			t.Errorf("%q: whole %q, %v; in pieces %q, %v", stream, whole, err, pieces, cut)
		}
	})
}
