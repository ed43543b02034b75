//go:build shortkeys

package relay_test

import (
	"testing"
	"time"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/servertest"
)

// The keys change six times under a stream, by the clock of the machine.
func TestStreamOutlivesSixKeys(t *testing.T) {
	t.Parallel()
	streamOverRotations(t, 10*time.Second, 5*time.Minute, 6, func(*servertest.Service) {})
}
