//go:build !shortkeys

package keyset

import "time"

// minRotation leaves a verifier that keeps the keys for five minutes, as it is
// told to, time to see each one before it signs.
const minRotation = 10 * time.Minute
