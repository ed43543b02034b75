package connector

import "context"

// Notice says that a part of a provider's answer was left out, and why. It is
// for the operator's log and metrics; it holds no token and no value of a claim.
type Notice struct {
	Kind    NoticeKind
	Name    string // of the claim, the key (kid) or the endpoint
	Problem string // what is wrong with it, in one line
}

// NoticeKind is what was left out. The set is closed; it is also a metric label.
type NoticeKind string

// Kinds of notices.
const (
	ClaimLeftOut    NoticeKind = "claim"
	KeyLeftOut      NoticeKind = "key"
	UserinfoLeftOut NoticeKind = "userinfo"
)

// NoticeKinds lists every kind, for metrics and documentation.
var NoticeKinds = []NoticeKind{ClaimLeftOut, KeyLeftOut, UserinfoLeftOut}

type noticesKey struct{}

// WithNotices returns a context in which Notify calls hear.
func WithNotices(ctx context.Context, hear func(Notice)) context.Context {
	return context.WithValue(ctx, noticesKey{}, hear)
}

// Notify reports n to the function given to WithNotices, if there is one.
func Notify(ctx context.Context, n Notice) {
	if hear, ok := ctx.Value(noticesKey{}).(func(Notice)); ok {
		hear(n)
	}
}
