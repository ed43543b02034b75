package keyset

import (
	"fmt"
	"slices"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

const (
	minSeedBytes = 32
	maxRotation  = 24 * time.Hour
)

// Settings is the `keys` section.
type Settings struct {
	// "ephemeral" makes random keys at start, so a restart ends all tokens; "seed" derives them from seedFiles, so tokens survive restarts and work at every replica.
	Source string `json:"source" default:"ephemeral" enum:"ephemeral seed"`
	// Files of at least 32 random bytes each, for source "seed" only. The first is used to issue, all are accepted, so a seed is rotated by putting a new one first. Required for source "seed": at least one.
	SeedFiles []string `json:"seedFiles" max:"16"`
	// How long one signing key is used, "10m" to "24h".
	Rotation time.Duration `json:"rotation" default:"1h"`

	Seeds []conf.Secret // the content of SeedFiles
}

// Resolve checks the section and reads the seeds.
func (s *Settings) Resolve(c conf.Section) {
	if at := c.Key("rotation"); !c.IsMalformed(at) && (s.Rotation < minRotation || s.Rotation > maxRotation) {
		c.Add(at, "%q is not between %s and %s", conf.ShowDuration(s.Rotation), conf.ShowDuration(minRotation), conf.ShowDuration(maxRotation))
	}
	at := c.Key("seedFiles")
	switch {
	case s.Source == "ephemeral" && len(s.SeedFiles) > 0:
		c.Add(at, `is used only where keys.source is "seed"`)
	case s.Source == "seed" && len(s.SeedFiles) == 0:
		c.Add(at, `is required where keys.source is "seed": name at least one file`)
	case s.Source == "seed":
		s.Seeds = readSeeds(c, at, s.SeedFiles)
	}
}

// Summary says where the keys come from, for the operator.
func (s *Settings) Summary() string {
	if s.Source == "seed" {
		return fmt.Sprintf("derived from %d seed(s)", len(s.Seeds))
	}
	return "ephemeral (a restart ends all tokens; one replica only)"
}

// seeds reads the seed files as they are, to the last byte: random bytes may
// end in what looks like a newline.
func readSeeds(c conf.Section, at string, files []string) []conf.Secret {
	var seeds []conf.Secret
	for i, name := range files {
		at := conf.Element(at, i)
		if first := slices.Index(files, name); first < i {
			c.Add(at, "is the same file as keys.seedFiles[%d]", first)
			continue
		}
		content, ok := c.SecretFile(at, name)
		switch problem := seedProblem(content); {
		case !ok:
		case len(content) < minSeedBytes:
			c.Add(at, "the file holds %d bytes; a seed has at least %d random bytes", len(content), minSeedBytes)
		case problem != "":
			c.Add(at, "%s", problem)
		default:
			if doubt := seedDoubt(content); doubt != "" {
				c.Warn(at, "%s", doubt)
			}
		}
		seeds = append(seeds, conf.NewSecret(content))
	}
	return seeds
}
