package connector

import "context"

type exchangeKey struct{}

// OnExchange returns a context in which a Recheck tells hear of the session that it got
// from the provider in exchange for the one it was given: at once, before anything else
// is asked or checked. The session before is spent then, so hear is the place to write
// the new one down. It is not told of a session whose refresh token stays good.
func OnExchange(ctx context.Context, hear func(Session)) context.Context {
	return context.WithValue(ctx, exchangeKey{}, hear)
}

// ExchangeHeard returns what OnExchange was given, nil for nothing.
func ExchangeHeard(ctx context.Context) func(Session) {
	hear, _ := ctx.Value(exchangeKey{}).(func(Session))
	return hear
}

// Exchanged is for a Rechecker to say that before was exchanged for now.
func Exchanged(ctx context.Context, before, now Session) {
	if hear := ExchangeHeard(ctx); hear != nil && now.RefreshToken != before.RefreshToken {
		hear(now)
	}
}
