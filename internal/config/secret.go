package config

import "log/slog"

// Secret is a value that must not be printed. Every formatting verb, the JSON
// and YAML encoders and slog show "[redacted]"; Reveal is the only way out.
type Secret struct{ value string }

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the secret itself. Call it only where the value is used.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether no secret was configured.
func (s Secret) IsZero() bool { return s.value == "" }

func (Secret) String() string               { return "[redacted]" }
func (Secret) GoString() string             { return "[redacted]" }
func (Secret) LogValue() slog.Value         { return slog.StringValue("[redacted]") }
func (Secret) MarshalJSON() ([]byte, error) { return []byte(`"[redacted]"`), nil }
