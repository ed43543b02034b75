package conformance

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

// reply is an answer of the service on its way out.
type reply struct {
	Status int
	Header http.Header
	Body   string
}

// matches reports whether a request is for path; "*" at the end means a prefix.
func matches(r *http.Request, path string) bool {
	if prefix, ok := strings.CutSuffix(path, "*"); ok {
		return strings.HasPrefix(r.URL.Path, prefix)
	}
	return r.URL.Path == path
}

// replies breaks what the service answers at path.
func replies(path string, change func(*http.Request, *reply)) Twin {
	return Twin{Front: func(next http.Handler) http.Handler { return changeReplies(path, change, next) }}
}

func changeReplies(path string, change func(*http.Request, *reply), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !matches(r, path) {
			next.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		asked := r.Clone(r.Context())
		if r.Body != nil && r.ContentLength != 0 {
			body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
			r.Body = io.NopCloser(bytes.NewReader(body))
			asked.Body = io.NopCloser(bytes.NewReader(body))
		}
		next.ServeHTTP(rec, r)
		out := reply{Status: rec.Code, Header: rec.Header(), Body: rec.Body.String()}
		change(asked, &out)
		out.Header.Del("Content-Length")
		for name, values := range out.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(out.Status)
		io.WriteString(w, out.Body)
	})
}

// requests breaks what the service is asked at path, so that it behaves as if
// it did not look.
func requests(path string, change func(*http.Request)) Twin {
	return Twin{Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if matches(r, path) {
				change(r)
			}
			next.ServeHTTP(w, r)
		})
	}}
}

// without, on the wire.
func dropHeader(path, name string) Twin {
	return replies(path, func(_ *http.Request, a *reply) { a.Header.Del(name) })
}

func setHeader(path, name, value string) Twin {
	return replies(path, func(_ *http.Request, a *reply) { a.Header.Set(name, value) })
}

func replaceHeader(path, name, old, value string) Twin {
	return replies(path, func(_ *http.Request, a *reply) {
		for i, v := range a.Header.Values(name) {
			a.Header[http.CanonicalHeaderKey(name)][i] = strings.Replace(v, old, value, 1)
		}
	})
}

func replaceBody(path, old, value string) Twin {
	return replies(path, func(_ *http.Request, a *reply) { a.Body = strings.ReplaceAll(a.Body, old, value) })
}

func status(path string, from, to int) Twin {
	return replies(path, func(_ *http.Request, a *reply) {
		if a.Status == from {
			a.Status = to
		}
	})
}

// answers replaces an answer with this status.
func answers(path string, when, status int, body string) Twin {
	return replies(path, func(_ *http.Request, a *reply) {
		if a.Status == when {
			a.Status, a.Body = status, body
		}
	})
}

// members edits JSON bodies.
func members(path string, change func(map[string]any)) Twin {
	return replies(path, func(_ *http.Request, a *reply) {
		var m map[string]any
		if json.Unmarshal([]byte(a.Body), &m) == nil {
			change(m)
			raw, _ := json.Marshal(m)
			a.Body = string(raw)
		}
	})
}

func setMember(path, name string, value any) Twin {
	return members(path, func(m map[string]any) { m[name] = value })
}

func dropMember(path, name string) Twin {
	return members(path, func(m map[string]any) { delete(m, name) })
}

// location edits the query of redirects.
func location(path string, change func(url.Values)) Twin {
	return replies(path, func(_ *http.Request, a *reply) {
		if u, err := url.Parse(a.Header.Get("Location")); err == nil && u.Path != "" {
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			a.Header.Set("Location", u.String())
		}
	})
}

// query edits the query before the service reads it.
func query(path string, change func(url.Values)) Twin {
	return requests(path, func(r *http.Request) {
		q := r.URL.Query()
		change(q)
		r.URL.RawQuery = q.Encode()
	})
}

// formData edits a form before the service reads it.
func formData(path string, change func(url.Values)) Twin {
	return requests(path, func(r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		v, err := url.ParseQuery(string(body))
		if err == nil {
			change(v)
			body = []byte(v.Encode())
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	})
}

// jsonData edits a JSON body before the service reads it.
func jsonData(path string, change func(map[string]any)) Twin {
	return requests(path, func(r *http.Request) {
		body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		var m map[string]any
		if json.Unmarshal(body, &m) == nil {
			change(m)
			body, _ = json.Marshal(m)
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	})
}

// header edits the request's header before the service reads it.
func header(path string, change func(http.Header)) Twin {
	return requests(path, func(r *http.Request) { change(r.Header) })
}

// config edits the configuration.
func configTwin(old, value string) Twin {
	return Twin{Config: func(text string) string {
		if old == "" {
			return text + value + "\n"
		}
		return strings.ReplaceAll(text, old, value)
	}}
}

// errorsBecomePasses makes the decision endpoint say yes to what it refused.
func errorsBecomePasses(path string, statuses ...int) Twin {
	return replies(path, func(_ *http.Request, a *reply) {
		for _, s := range statuses {
			if a.Status == s {
				a.Status, a.Body = 200, ""
				for _, name := range identityHeaders {
					a.Header.Set(name, "-")
				}
			}
		}
	})
}

func twins(t ...Twin) []Twin { return t }

func body(s string) io.ReadCloser { return io.NopCloser(strings.NewReader(s)) }
