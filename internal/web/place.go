package web

import "context"

// Place is what a request holds that counts among those under way.
type Place interface {
	Leave()  // stop counting it
	Return() // count it again, whether or not there is room
}

type placeKey struct{}

// WithPlace returns ctx with the place that its request holds.
func WithPlace(ctx context.Context, p Place) context.Context {
	return context.WithValue(ctx, placeKey{}, p)
}

// Aside runs wait while the request of ctx holds no place. It is for waits with
// bounds of their own, which would otherwise take the places of requests that
// have nothing to wait for.
func Aside(ctx context.Context, wait func()) {
	if p, ok := ctx.Value(placeKey{}).(Place); ok {
		p.Leave()
		defer p.Return()
	}
	wait()
}
