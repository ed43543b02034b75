// Package conformance checks the running service from outside, row by row of
// requirements.yaml. Its invariant: every row has either a check or a reason why
// there is none, and every check has been seen to fail: each runs a second time
// against a service that was broken on purpose (its twin) and must notice.
//
// The service is the real one behind a real listener; only the identity
// provider, the MCP server and the gateway around it are fakes. What a check
// needs but cannot get is a failure of the suite, never a pass.
package conformance
