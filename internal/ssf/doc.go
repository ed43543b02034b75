// Package ssf receives security events (Shared Signals Framework 1.0): that an
// identity provider ended a person's session, disabled an account, or saw a
// credential change. What such an event is about is ended at once, on every replica.
//
// Its invariants: an event counts only if a configured transmitter signed it for this
// service, of the type of an event and no other token, and once; what it names is
// looked up only in the ways that the configuration allows for that transmitter; and
// an event can end something, and never allow anything.
package ssf
