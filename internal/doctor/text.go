package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Printer writes findings for people.
type Printer struct {
	Out     io.Writer
	Colour  bool
	Gateway string // adds this gateway's recipes; may be empty

	group   string
	skipped []Finding
}

const (
	red, green, yellow, dim, bold = "31", "32", "33", "2", "1"
	width                         = 96
	idWidth                       = 14
)

func (p *Printer) paint(code, s string) string {
	if !p.Colour || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// Heading says what is looked at.
func (p *Printer) Heading(url string) {
	fmt.Fprintf(p.Out, "\n  %s\n", p.paint(bold, printable(url)))
}

// Finding writes the line of one check, and its faults. Checks left out for one reason
// share a line, which is written with the next.
func (p *Printer) Finding(f Finding) {
	if n := len(p.skipped); n > 0 && (f.Status != Skipped || f.Detail != p.skipped[0].Detail || f.Group != p.skipped[0].Group) {
		p.flush()
	}
	if f.Group != p.group {
		p.group = f.Group
		fmt.Fprintf(p.Out, "\n  %s\n", p.paint(bold, f.Group))
	}
	switch f.Status {
	case Skipped:
		p.skipped = append(p.skipped, f)
	case Passed:
		p.line(p.paint(green, "✓"), p.paint(dim, fmt.Sprintf("%-*s", idWidth, f.ID)), f.Title, f.Detail)
	case Faulty:
		p.line(p.paint(red, "✗"), p.paint(red, fmt.Sprintf("%-*s", idWidth, f.ID)), f.Title, "")
	case Warned:
		p.line(p.paint(yellow, "!"), p.paint(yellow, fmt.Sprintf("%-*s", idWidth, f.ID)), f.Title, "")
	}
	for _, s := range f.Faults {
		p.symptom(s, f.Status)
	}
}

// flush writes the checks that were left out for one reason.
func (p *Printer) flush() {
	if len(p.skipped) == 0 {
		return
	}
	first := p.skipped[0]
	title := first.Title
	if len(p.skipped) > 1 {
		var ids []string
		for _, f := range p.skipped[1:] {
			ids = append(ids, f.ID)
		}
		title = "and " + strings.Join(ids, ", ")
	}
	p.line(p.paint(dim, "–"), p.paint(dim, fmt.Sprintf("%-*s", idWidth, first.ID)), title, "not tested: "+first.Detail)
	p.skipped = nil
}

// line writes a title with its detail: beside it if there is room, else below.
func (p *Printer) line(mark, id, title, detail string) {
	const left = idWidth + 5
	lines := wrap(title, width-left)
	if last := len(lines) - 1; detail != "" && len(lines[last])+2+len(detail) <= width-left {
		lines[last] += p.paint(dim, "  "+detail)
	} else if detail != "" {
		for _, l := range wrap(detail, width-left) {
			lines = append(lines, p.paint(dim, l))
		}
	}
	fmt.Fprintf(p.Out, "  %s %s %s\n", mark, id, strings.Join(lines, "\n"+strings.Repeat(" ", left)))
}

func (p *Printer) symptom(s Symptom, status Status) {
	colour := red
	if status == Warned {
		colour = yellow
	}
	fmt.Fprintf(p.Out, "\n      %s  %s\n", p.paint(colour, s.Title), p.paint(dim, s.ID))
	for _, part := range [][2]string{{"seen", s.Saw}, {"why", s.Why}, {"remedy", s.Remedy}} {
		if part[1] != "" {
			fmt.Fprintf(p.Out, "      %s %s\n", p.paint(dim, fmt.Sprintf("%-7s", part[0])),
				strings.Join(wrap(part[1], width-14), "\n"+strings.Repeat(" ", 14)))
		}
	}
	fmt.Fprintln(p.Out)
}

// Summary ends the report: the recipes that correct the faults, then the count.
func (p *Printer) Summary(r Report) {
	p.flush()
	topics := r.topics()
	if p.Gateway != "" && len(topics) > 0 {
		fmt.Fprintf(p.Out, "\n  %s\n", p.paint(bold, "With "+p.Gateway))
		for _, t := range topics {
			fmt.Fprintf(p.Out, "\n  %s\n\n%s\n", p.paint(bold, string(t)), indent(Section(p.Gateway, t)))
		}
	}
	verdict := p.paint(green, "no fault found")
	if r.Faults > 0 {
		verdict = p.paint(red, plural(r.Faults, "fault"))
	}
	if r.Warnings > 0 {
		verdict += ", " + p.paint(yellow, plural(r.Warnings, "warning"))
	}
	fmt.Fprintf(p.Out, "\n  %s, %d passed, %d not tested\n", verdict, r.Passed, r.Skipped)
	if len(r.Origins) > 1 {
		fmt.Fprintf(p.Out, "  %s\n", p.paint(dim, "talked to "+strings.Join(r.Origins, ", ")))
	}
	if p.Gateway == "" && len(topics) > 0 {
		name := guess(r.Server)
		hint := "--gateway NAME shows the lines for your gateway: " + strings.Join(Gateways(), ", ")
		if name != "" {
			hint = fmt.Sprintf("the answers come from %q; --gateway %s shows the lines for it, other names are %s",
				r.Server, name, strings.Join(slices.DeleteFunc(Gateways(), func(n string) bool { return n == name }), ", "))
		}
		fmt.Fprintf(p.Out, "  %s\n", p.paint(dim, strings.Join(wrap(hint, width-4), "\n  ")))
	}
	fmt.Fprintln(p.Out)
}

// topics lists the sections of a recipe that correct the faults.
func (r *Report) topics() (out []Topic) {
	for _, t := range Topics {
		if slices.ContainsFunc(r.Findings, func(f Finding) bool {
			return slices.ContainsFunc(f.Faults, func(s Symptom) bool { return s.Topic == t })
		}) {
			out = append(out, t)
		}
	}
	return out
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// wrap breaks text between words. A word longer than a line, such as a URL to
// copy, stays whole.
func wrap(text string, columns int) (lines []string) {
	line, n := "", 0
	for word := range strings.FieldsSeq(text) {
		length := len([]rune(word))
		if n > 0 && n+1+length > columns {
			lines = append(lines, line)
			line, n = "", 0
		}
		if n > 0 {
			line, n = line+" ", n+1
		}
		line, n = line+word, n+length
	}
	return append(lines, line)
}
