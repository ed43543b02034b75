//go:build shortkeys

package keyset

import "time"

// minRotation of a binary for tests that want to see many rotations.
const minRotation = time.Second
