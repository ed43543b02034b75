//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/oauthtest"
)

// kept are the writes of what a replica got for a refresh token, in order: from the moment
// it asked the provider until then. While it has the lease of the family, it alone writes
// there.
func (b *blaze) kept(s oauthtest.Spending, until time.Time) (writes []guardWrite) {
	family, at := b.families[s.Subject], b.taps[s.By]
	if at == nil || family == "" {
		return nil
	}
	if b.form == "held" {
		return at.written("kept", "provider session "+family, s.Asked, until)
	}
	writes = at.written("family", family, s.Asked, until)
	var leased struct {
		Lease string `json:"lease"`
	}
	if before := at.written("family", family, time.Time{}, s.Asked); len(before) > 0 && json.Unmarshal([]byte(before[len(before)-1].value), &leased) == nil {
		writes = append(writes, at.written("answer", leased.Lease, s.Asked, until)...)
	}
	slices.SortFunc(writes, func(x, y guardWrite) int { return x.sent.Compare(y.sent) })
	return writes
}

// longestWrite is how long a replica may have what the provider gave and not have written
// it down while the guard is there, on a machine that does much else.
const longestWrite = time.Second

// fault says why a refresh token must not have been used twice, "" for the one excuse: the
// replica that was answered was killed before anything of it reached the guard. between is
// then the time from the provider's answer to the signal; less than 0 where the signal was
// first.
func (b *blaze) fault(r oauthtest.Reuse) (why string, between time.Duration) {
	d, died := b.deaths[r.First.By]
	switch {
	case b.families[r.First.Subject] == "" || b.taps[r.First.By] == nil:
		return "it is not known whose it is, or who used it", 0
	case !died || d.at.After(r.At):
		return r.First.By + ", which used it first, was not killed", 0
	case r.First.Answered.IsZero():
		return "", 0 // killed while the provider was at it
	}
	between = d.at.Sub(r.First.Answered)
	if writes := b.kept(r.First, d.gone); len(writes) > 0 {
		return fmt.Sprintf("what came of it reached the guard %s after the provider's answer", writes[0].done.Sub(r.First.Answered).Round(time.Microsecond)), between
	}
	if between > longestWrite && !b.during("guard", r.First.Asked, d.at) {
		return "it was not written down, and the guard was there", between
	}
	return "", between
}

// during reports whether a disturbance of this kind, and what is felt of it, was between
// two times.
func (b *blaze) during(kind string, from, to time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.ContainsFunc(b.windows, func(w window) bool {
		return w.kind == kind && w.from.Before(to) && (w.to.IsZero() || w.to.Add(felt[kind]).After(from))
	})
}

// exposed is how long what the provider gave was known to one process alone, for each
// refresh while the guard was there, the shortest first. seen counts those of which a tap
// saw the write, also when the guard had been away. Of some the guard never heard,
// and their replica was not killed: lost has them, and has to be empty.
func (b *blaze) exposed() (all []time.Duration, seen int, lost []oauthtest.Spending) {
	for _, s := range b.provider.Spent() {
		if s.Answered.IsZero() {
			continue
		}
		writes := b.kept(s, s.Answered.Add(10*longestWrite))
		if len(writes) > 0 {
			seen++
		}
		if b.during("guard", s.Asked, s.Answered.Add(longestWrite)) {
			continue
		}
		if len(writes) > 0 {
			all = append(all, writes[0].done.Sub(s.Answered))
		} else if d, died := b.deaths[s.By]; !died || d.at.Sub(s.Answered) > longestWrite {
			lost = append(lost, s)
		}
	}
	slices.Sort(all)
	return all, seen, lost
}

// refusalsAt are the lines about refusals of that second and the one before.
func (b *blaze) refusalsAt(at time.Time) (lines []string) {
	for _, line := range b.refused {
		for _, then := range []time.Time{at, at.Add(-time.Second)} {
			if strings.Contains(line, then.UTC().Format(`"time":"2006-01-02T15:04:05`)) {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// judge says whether what happened may happen.
func (b *blaze) judge() {
	t := b.t
	cut := map[string]time.Time{} // by subject: whose answer a killed process took with it
	reused := b.provider.Reused()
	for _, r := range reused {
		why, between := b.fault(r)
		text := fmt.Sprintf("the refresh token of %s, used by %s at %s and by %s %s later", r.First.Subject, r.First.By, r.First.Asked.Format("15:04:05.000"), r.By, r.At.Sub(r.First.Asked).Round(time.Millisecond))
		if why != "" {
			t.Errorf("%s: %s (killed %s after the answer)", text, why, between.Round(time.Microsecond))
			continue
		}
		cut[r.First.Subject] = r.First.Asked
		t.Logf("%s: killed %s after the answer, of which nothing had reached the guard", text, between.Round(time.Microsecond))
	}
	counts := map[string]int{}
	for _, f := range b.felt {
		counts[f.what]++
		if since, ok := cut[f.subject]; !ok || f.at.Before(since) {
			t.Errorf("%s at %s, of %s, whose session no kill cut off: %s\n%s", f.what, f.at.Format("15:04:05.000"), f.subject, f.answer, strings.Join(b.refusalsAt(f.at), ""))
		}
	}
	all, seen, lost := b.exposed()
	for _, s := range lost {
		t.Errorf("of what %s got for %s at %s nothing reached the guard", s.By, s.Subject, s.Asked.Format("15:04:05.000"))
	}
	text, _ := json.Marshal(map[string]any{
		"form": b.form, "clients": clientsInChaos(), "kills": len(b.deaths), "outages": b.count.outages, "good calls": b.good.Load(), "calls with a dead token": counts[deadToken],
		"calls told 5xx during a kill or outage": b.told, "refreshes of clients": b.refreshes.Load(), "refreshes at the provider": len(b.provider.Spent()),
		"forced sign-ins": counts[forcedSignIn], "refresh tokens used twice": len(reused), "of these cut off by a kill": len(cut),
	})
	t.Logf("%s, %d refreshes seen to reach the guard", text, seen)
	if n := len(all); n > 0 {
		t.Logf("from the provider's answer to the guard, %d times: median %s, p99 %s, longest %s", n, all[n/2], all[n*99/100], all[n-1])
	}
	for i, p := range b.problems {
		if t.Error(p); i == 20 {
			break
		}
	}
	if b.good.Load() < int64(10*clientsInChaos()) || len(b.deaths) < 3 || b.count.outages == 0 || seen < clientsInChaos()/2 {
		t.Errorf("too little happened: %d of %d refreshes were seen to reach the guard", seen, len(b.provider.Spent()))
	}
}

// The judge excuses one case, and sees each that is near it.
func TestChaosJudge(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for _, form := range []string{"client", "held"} {
		kind, id := "family", "the-family"
		if form == "held" {
			kind, id = "kept", "provider session the-family"
		}
		for _, tt := range []struct {
			name      string
			kill      int // when replica-0 is killed; 0: never
			write     int // when it writes something of the family; 0: never
			outage    int // when the guard goes away for two seconds; 0: never
			by, whose string
			want      string
		}{
			{name: "killed before the write", kill: 115, by: "replica-0", whose: "jane"},
			{name: "killed while the provider answers", kill: 105, by: "replica-0", whose: "jane"},
			{name: "killed before the provider began to", kill: 50, by: "replica-0", whose: "jane"},
			{name: "killed while the guard was away", kill: 1800, outage: 120, by: "replica-0", whose: "jane"},
			{name: "killed after the write", kill: 115, write: 112, by: "replica-0", whose: "jane", want: "reached the guard 2ms after"},
			{name: "the lease alone was written", kill: 115, write: 90, by: "replica-0", whose: "jane"},
			{name: "not killed", by: "replica-0", whose: "jane", want: "was not killed"},
			{name: "killed after the second use", kill: 30_000, by: "replica-0", whose: "jane", want: "was not killed"},
			{name: "killed long after, and nothing written", kill: 5000, by: "replica-0", whose: "jane", want: "the guard was there"},
			{name: "another replica was killed", kill: 115, by: "replica-1", whose: "jane", want: "was not killed"},
			{name: "a stranger", kill: 115, by: "replica-0", whose: "joe", want: "not known"},
		} {
			t.Run(form+" "+tt.name, func(t *testing.T) {
				b := &blaze{storm: &storm{t: t}, form: form, deaths: map[string]death{}, families: map[string]string{"jane": "the-family"}, taps: map[string]*tap{"replica-0": {writes: map[string][]guardWrite{}}, "replica-1": {}}}
				if tt.kill != 0 {
					b.deaths["replica-0"] = death{at: at(tt.kill), gone: at(tt.kill + 1)}
				}
				if tt.write != 0 {
					b.taps["replica-0"].writes[tapKey(kind, id)] = []guardWrite{{value: "{}", sent: at(tt.write), done: at(tt.write)}}
				}
				if tt.outage != 0 {
					b.windows = []window{{kind: "guard", from: at(tt.outage), to: at(tt.outage + 2000)}}
				}
				why, _ := b.fault(oauthtest.Reuse{First: oauthtest.Spending{Subject: tt.whose, By: tt.by, Asked: at(100), Answered: at(110)}, By: "replica-2", At: at(25_000)})
				if (why == "") != (tt.want == "") || !strings.Contains(why, tt.want) {
					t.Errorf("says %q, want %q", why, tt.want)
				}
			})
		}
	}
}
