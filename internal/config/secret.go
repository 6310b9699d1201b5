package config

import (
	"errors"
	"fmt"
	"log/slog"
)

const redacted = "redacted"

// Secret is a password, passphrase or key. It prints, logs and marshals as
// "redacted"; Expose is the only way out.
type Secret struct {
	// File is the file it came from, "" if from the config or the environment.
	File  string
	value string
}

// NewSecret takes value as a secret.
func NewSecret(value string) Secret { return Secret{value: value} }

// Expose returns the secret itself. Only what logs in or opens a key calls it.
func (s Secret) Expose() string { return s.value }

// Set reports whether there is a secret.
func (s Secret) Set() bool { return s.value != "" }

// String returns "redacted".
func (Secret) String() string { return redacted }

// GoString returns "redacted".
func (Secret) GoString() string { return redacted }

// Format prints "redacted" whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue returns "redacted".
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "redacted"; it serves JSON and XML too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalYAML returns "redacted".
func (Secret) MarshalYAML() (any, error) { return redacted, nil }

// UnmarshalText fails: secrets are read by Load only.
func (*Secret) UnmarshalText([]byte) error {
	return errors.New("config: a secret is read by Load only")
}
