package server

import (
	"net/http"

	"github.com/mcp-forward-auth/mcp-forward-auth/internal/ssf"
)

// securityEvents makes the receiver of identity providers' events, nil if there are no
// streams.
func (b *builder) securityEvents() *ssf.Receiver {
	return ssf.New(ssf.Options{
		Streams: b.cfg.SecurityEvents, Redeem: b.replay.Redeem, Ended: b.memory.ended, GrantLifetime: b.grantLifetime(), Audit: b.audit, Now: b.opt.Now,
		Transport: func(authorities []byte) http.RoundTripper {
			var base http.RoundTripper
			if b.opt.HTTPClient != nil {
				base = b.opt.HTTPClient.Transport
			}
			return trusting(base, authorities)
		},
		Trouble: func(stream string, err error) {
			if err == nil {
				b.log.Info("a transmitter of security events answers again", "stream", stream)
				return
			}
			b.log.Error("a transmitter of security events gives nothing: what it knows of people takes effect when it does", "stream", stream, "problem", err)
		},
	})
}
