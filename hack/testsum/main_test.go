package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	for _, c := range []struct {
		name   string
		runs   []string
		want   []string
		wantOK bool
	}{
		{
			name: "sub-tests count, their parent does not",
			runs: []string{`{"Action":"pass","Package":"p","Test":"A/x"}
{"Action":"pass","Package":"p","Test":"A/y"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"pass","Package":"p"}`},
			want: []string{"2 passed, 0 failed"}, wantOK: true,
		},
		{
			name: "a parent that fails by itself counts",
			runs: []string{`{"Action":"pass","Package":"p","Test":"A/x"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p"}`},
			want: []string{"--- FAILED: p A", "1 passed, 1 failed"},
		},
		{
			name: "a package that does not build fails",
			runs: []string{`{"Action":"pass","Package":"q","Test":"A"}
{"ImportPath":"p [p.test]","Action":"build-output","Output":"p.go:1: what\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p"}`},
			want: []string{"p.go:1: what", "1 passed, 1 failed"},
		},
		{
			name: "a test cut off by a timeout fails",
			runs: []string{`{"Action":"run","Package":"p","Test":"A"}`},
			want: []string{"it never ended", "0 passed, 1 failed"},
		},
		{
			name: "a run without tests fails",
			runs: []string{`{"Action":"skip","Package":"p"}`},
			want: []string{"no test ran", "0 passed, 1 failed"},
		},
		{
			name: "the same test in two runs counts once, with its worst outcome",
			runs: []string{`{"Action":"pass","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"B"}`, `{"Action":"fail","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"B"}`},
			want: []string{"1 passed, 1 failed"},
		},
		{
			name: "what could not run says why and is no pass",
			runs: []string{`{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:3: not run: nginx is not installed\n"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"B"}`},
			want: []string{"NOT RUN: A because nginx is not installed", "1 passed, 1 failed"},
		},
		{
			name: "a skip says why",
			runs: []string{`{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:3: not built yet\n"}
{"Action":"output","Package":"p","Test":"A","Output":"--- SKIP: A (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"A"}
{"Action":"pass","Package":"p","Test":"B"}`},
			want: []string{"SKIPPED: A because not built yet", "1 passed, 0 failed, 1 skipped"}, wantOK: true,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			total := map[name]result{}
			for _, run := range c.runs {
				results, err := collect(strings.NewReader(run), "run")
				if err != nil {
					t.Fatal(err)
				}
				merge(total, results)
			}
			var out strings.Builder
			if ok := report(&out, total); ok != c.wantOK {
				t.Errorf("ok is %v", ok)
			}
			for _, w := range c.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q in\n%s", w, out.String())
				}
			}
			if lines := strings.Split(strings.TrimSpace(out.String()), "\n"); lines[len(lines)-1] != c.want[len(c.want)-1] {
				t.Errorf("the last line is %q", lines[len(lines)-1])
			}
		})
	}
}
