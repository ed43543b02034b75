package server

import (
	"log/slog"
	"sync"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/connector"
)

// maxNotices bounds how many different notices of one provider are logged. The
// names of claims are the operator's, but key ids and their problems are the
// provider's.
const maxNotices = 200

// notices logs what was left out of one provider's answers, each thing once, and
// counts every time.
type notices struct {
	provider string
	log      *slog.Logger
	count    func(connector.NoticeKind)

	mu   sync.Mutex
	said map[connector.Notice]bool
}

func (n *notices) hear(notice connector.Notice) {
	n.count(notice.Kind)
	if !n.first(notice) {
		return
	}
	n.log.Warn(noticeTexts[notice.Kind], "provider", n.provider, string(notice.Kind), notice.Name, "problem", notice.Problem)
}

var noticeTexts = map[connector.NoticeKind]string{
	connector.ClaimLeftOut:    "a claim of the identity provider cannot be read in full: what it says of people is unknown, so rules that deny by it hold, and rules that allow by it do not",
	connector.KeyLeftOut:      "a key of the identity provider cannot be used: tokens that it signs are refused",
	connector.UserinfoLeftOut: "the identity provider's userinfo endpoint failed: the configuration can do without, so people sign in, and what it would have said of them is unknown",
}

// first reports whether notice was not heard before.
func (n *notices) first(notice connector.Notice) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.said[notice] || len(n.said) >= maxNotices {
		return false
	}
	if n.said == nil {
		n.said = map[connector.Notice]bool{}
	}
	n.said[notice] = true
	return true
}
