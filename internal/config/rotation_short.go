//go:build shortkeys

package config

import "time"

// minRotation of a binary for tests that want to see many rotations.
const minRotation = time.Second
