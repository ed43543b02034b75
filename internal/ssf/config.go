package ssf

import (
	"cmp"
	"strings"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/conf"
)

// File is the `securityEvents` section.
type File struct {
	// Transmitters whose events are accepted. See docs/security-events.md. Default: none.
	Streams []StreamFile `json:"streams" max:"20"`
}

// StreamFile is one entry of `securityEvents.streams`: what one transmitter sends.
type StreamFile struct {
	// Name of the stream: up to 32 of a-z, 0-9 and "-". Events are pushed to /security-events/ID. Required.
	ID string `json:"id"`
	// Issuer of the events, exact to the last slash. Required.
	Issuer string `json:"issuer" check:"https"`
	// Audience of the events. Required.
	Audience string `json:"audience"`
	// Where the issuer publishes its keys. Default: the jwks_uri of its metadata, /.well-known/ssf-configuration or /.well-known/openid-configuration.
	JWKSURL string `json:"jwksURL" check:"https"`
	// File with the certificates of the authorities to trust for the transmitter, in PEM, and no others. Default: those of the system.
	Authorities []byte `json:"caFile"`
	// Id of the identity provider whose users the events name by iss and sub, or by an opaque id. Default: the only one.
	Provider string `json:"provider"`
	// Issuer of the events' subjects, if it differs from the issuer of the events. Default: issuer.
	SubjectIssuer string `json:"subjectIssuer"`
	// How the subject of an event may be named: "iss_sub", "email", "opaque" (the subject at the provider). Default: iss_sub.
	Subjects []string `json:"subjects" max:"3" check:"unique"`
	// The transmitter pushes its events here (RFC 8935).
	Push PushFile `json:"push"`
	// This service fetches the events (RFC 8936).
	Poll PollFile `json:"poll"`
}

// PushFile is the `push` section of a stream.
type PushFile struct {
	// File with the token that the transmitter presents as "Authorization: Bearer TOKEN", of at least 32 characters. Default: nothing can be pushed.
	Token conf.Secret `json:"tokenFile" file:"line"`
}

// PollFile is the `poll` section of a stream.
type PollFile struct {
	// URL that events are fetched from. Default: none are.
	Endpoint string `json:"endpoint" check:"https"`
	// File with the token for it.
	Token conf.Secret `json:"tokenFile" file:"line"`
	// How long to wait after an answer without events, "1s" to "5m".
	Interval time.Duration `json:"interval" default:"2s" min:"1s" max:"5m"`
}

// Ways to name a subject.
const (
	formatIssSub = "iss_sub"
	formatEmail  = "email"
	formatOpaque = "opaque"
)

const minToken = 32

// Stream is one entry, checked.
type Stream struct {
	StreamFile
	// Namespace is how the full subjects of the provider's people begin.
	Namespace string
}

// Accepts reports whether subjects may be named in that way.
func (s *Stream) accepts(format string) bool {
	for _, f := range s.Subjects {
		if f == format {
			return true
		}
	}
	return false
}

// Resolve checks the section. namespaces are the beginnings of full subjects, by the
// ids of the identity providers.
func (f File) Resolve(c conf.Section, namespaces map[string]string) (list []Stream) {
	seen := map[string]bool{}
	for i, s := range f.Streams {
		at := conf.Section{Check: c.Check, At: conf.Element(c.Key("streams"), i)}
		switch {
		case s.ID == "":
			c.Add(at.Key("id"), "is required: the name of the stream")
		case len(s.ID) > 32 || conf.HasOther(s.ID, "abcdefghijklmnopqrstuvwxyz0123456789-"):
			c.Add(at.Key("id"), `%s is not a name: up to 32 of a-z, 0-9 and "-"`, conf.Show(s.ID))
		case seen[s.ID]:
			c.Add(at.Key("id"), "%q is the id of another stream", s.ID)
		}
		seen[s.ID] = true
		list = append(list, s.resolve(at, namespaces))
	}
	return list
}

func (f StreamFile) resolve(c conf.Section, namespaces map[string]string) Stream {
	if f.Issuer == "" {
		c.Add(c.Key("issuer"), "is required: what the transmitter writes into iss")
	}
	if f.Audience == "" {
		c.Add(c.Key("audience"), "is required: what the transmitter writes into aud for this service")
	}
	f.SubjectIssuer = cmp.Or(f.SubjectIssuer, f.Issuer)
	if len(f.Subjects) == 0 {
		f.Subjects = []string{formatIssSub}
	}
	for i, format := range f.Subjects {
		if format != formatIssSub && format != formatEmail && format != formatOpaque {
			c.Add(conf.Element(c.Key("subjects"), i), `%s is not one of "iss_sub", "email", "opaque"`, conf.Show(format))
		}
	}
	if push := f.Push.Token.Reveal(); push != "" && len(push) < minToken {
		c.Add(c.Sub("push").Key("tokenFile"), "names a file with fewer than %d characters; `openssl rand -hex 32` makes a token", minToken)
	}
	poll := c.Sub("poll")
	switch {
	case f.Poll.Endpoint != "":
		if f.Poll.Token.Reveal() == "" {
			c.Add(poll.Key("tokenFile"), "is required: what the transmitter knows this service by")
		}
	case f.Push.Token.Reveal() == "":
		c.Add(c.At, "receives nothing; set push.tokenFile, or poll.endpoint")
	}
	return Stream{f, f.namespace(c, namespaces)}
}

func (f StreamFile) namespace(c conf.Section, namespaces map[string]string) string {
	if f.Provider == "" && len(namespaces) == 1 {
		for _, only := range namespaces {
			return only
		}
	}
	namespace, known := namespaces[f.Provider]
	if !known {
		c.Add(c.Key("provider"), "%s is not the id of an identity provider: one of %s", conf.Show(f.Provider), strings.Join(ids(namespaces), ", "))
	}
	return namespace
}

func ids(namespaces map[string]string) (list []string) {
	for id := range namespaces {
		list = append(list, conf.Show(id))
	}
	return list
}
