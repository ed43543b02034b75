package flows

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/web"
)

// Path of the list; a flow's own page is below it.
const Path = "/debug/flows"

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// scope is part of every answer: a flow that is missing here may be elsewhere.
const scope = "this replica only, since its start"

// Register puts the pages on a mux, that of the management listener.
func (l *Log) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+Path, l.list)
	mux.HandleFunc("GET "+Path+"/{id}", l.one)
}

// list answers with the flows begun last. The query narrows it: step, reason,
// client, resource; refused=true leaves those that ended in a refusal.
func (l *Log) list(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	limit := defaultLimit
	if s := q.Get("limit"); s != "" {
		var err error
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > maxLimit {
			web.JSON(w, http.StatusBadRequest, web.ErrorBody{Error: "invalid_request", Description: fmt.Sprintf("limit is not between 1 and %d", maxLimit)})
			return
		}
	}
	found := l.Latest(limit, func(f *Flow) bool {
		for _, wanted := range []struct{ key, is string }{{"step", string(f.Step)}, {"reason", string(f.Reason)}, {"client", f.Client}, {"resource", f.Resource}} {
			if v := q.Get(wanted.key); v != "" && v != wanted.is {
				return false
			}
		}
		return q.Get("refused") != "true" || f.Reason != ""
	})
	if wantsText(r) {
		text(w, http.StatusOK, func(out io.Writer) { printList(out, found, l.Len()) })
		return
	}
	web.JSON(w, http.StatusOK, struct {
		Scope    string `json:"scope"`
		Held     int    `json:"held"`
		Capacity int    `json:"capacity"`
		Flows    []Flow `json:"flows"`
	}{scope, l.Len(), Capacity, found})
}

func (l *Log) one(w http.ResponseWriter, r *http.Request) {
	id := strings.ToLower(strings.TrimSpace(r.PathValue("id"))) // as a person reads it out
	f, ok := l.Find(id)
	if !ok {
		const hint = "no such flow in " + scope + "; ask the other replicas, or look for it in the audit log"
		if wantsText(r) {
			text(w, http.StatusNotFound, func(out io.Writer) { fmt.Fprintln(out, hint) })
			return
		}
		web.JSON(w, http.StatusNotFound, web.ErrorBody{Error: "not_found", Description: hint})
		return
	}
	if wantsText(r) {
		text(w, http.StatusOK, func(out io.Writer) { f.print(out) })
		return
	}
	web.JSON(w, http.StatusOK, struct {
		Scope string `json:"scope"`
		Flow
		// Meaning is the reason in words.
		Meaning string `json:"meaning,omitempty"`
		// Remedy is what to do about it.
		Remedy string `json:"remedy,omitempty"`
	}{scope, f, f.Reason.Meaning(), f.Reason.Remedy()})
}

// wantsText: JSON is for programs, and where Accept says nothing.
func wantsText(r *http.Request) bool {
	if format := r.URL.Query().Get("format"); format != "" {
		return format == "text"
	}
	return strings.Contains(r.Header.Get("Accept"), "text/plain")
}

func text(w http.ResponseWriter, status int, print func(io.Writer)) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	print(w)
}

func printList(out io.Writer, flows []Flow, held int) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BEGUN\tFLOW\tSTEP\tREASON\tCLIENT\tRESOURCE")
	for _, f := range flows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.First.Format(time.RFC3339), f.ID, dash(string(f.Step)), dash(string(f.Reason)), f.who(), dash(f.Resource))
	}
	t.Flush()
	fmt.Fprintf(out, "%d shown of %d (%s)\n", len(flows), held, scope)
}

func (f *Flow) print(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "flow\t%s (%s)\n", f.ID, scope)
	fmt.Fprintf(t, "furthest step\t%s\n", dash(string(f.Step)))
	if f.Reason != "" {
		fmt.Fprintf(t, "refused\t%s: %s\n", f.Reason, f.Reason.Meaning())
		fmt.Fprintf(t, "do\t%s\n", f.Reason.Remedy())
	}
	fmt.Fprintf(t, "client\t%s\n", f.who())
	fmt.Fprintf(t, "redirect host\t%s\n", dash(plain(f.Redirect)))
	fmt.Fprintf(t, "resource\t%s\n", dash(f.Resource))
	fmt.Fprintf(t, "host\t%s\n", dash(f.Host))
	fmt.Fprintln(t)
	for i, e := range f.Trail {
		if f.Omitted > 0 && i == maxTrail/2 {
			fmt.Fprintf(t, "…\t%d more\n", f.Omitted)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", e.At.Format("2006-01-02T15:04:05.000Z07:00"), e.Event, e.Reason)
	}
	t.Flush()
}

func (f *Flow) who() string {
	if f.ClientName != "" && f.ClientName != f.Client {
		return fmt.Sprintf("%s (%s)", dash(plain(f.Client)), plain(f.ClientName))
	}
	return dash(plain(f.Client))
}

// plain keeps what a client says of itself from acting on a terminal.
func plain(s string) string {
	q := strconv.QuoteToGraphic(s)
	return q[1 : len(q)-1]
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
