package connector

import "context"

type exchangeKey struct{}

// OnExchange returns a context in which Recheck calls hear with the session that the
// provider gave in exchange for the previous one: at once, before anything else is
// asked or checked. The previous session no longer works then, so hear must store the
// new one. hear is not called if the refresh token stays valid.
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
