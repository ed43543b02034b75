// Package session is the kind of credential that a person's browser holds after
// a sign-in: a cookie that opens the pages of an MCP host, and nothing else.
//
// Its invariants: the cookie is of one host and sealed, and every part of it that
// decides is inside of the seal; it is honoured at pages alone, never at an MCP
// server; and it dies by itself when it is not used, when the identity provider
// was not asked about the person for too long, and some hours after the sign-in.
package session
