// Package conf is the kit that sections of the configuration are made with: it
// decodes strictly, collects mistakes with their paths, checks the usual kinds of
// values, and has types for those that all sections share. It knows no section.
package conf

import (
	"fmt"
	"io"
	"log/slog"
)

// Redacted stands wherever a secret would have been printed.
const Redacted = "[redacted]"

// Secret is a value that must not be printed. Every formatting verb, the JSON,
// YAML and text encoders and slog show "[redacted]"; Reveal is the only way out.
//
// The value sits behind a pointer because fmt does not call the methods of an
// unexported struct field: it would print a plain string there, and prints a
// pointer as an address. So two Secrets cannot be compared with ==, which is
// no loss: secrets want a comparison in constant time.
type Secret struct{ value *string }

// NewSecret wraps value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns the secret itself. Call it only where the value is used.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether no secret was configured.
func (s Secret) IsZero() bool { return s.value == nil }

// Format covers the verbs that ignore String too, such as %d.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, Redacted) }

func (Secret) String() string { return Redacted }

func (Secret) LogValue() slog.Value { return slog.StringValue(Redacted) }

func (Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }
