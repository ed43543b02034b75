package page

import "net/http"

// Device asks for the code that a device without a browser shows.
type Device struct {
	Action  string // the form's target
	Code    string // what was typed before, to be kept after a mistake
	Problem DeviceProblem
}

// DeviceProblem says why the last try failed.
type DeviceProblem string

// Device problems.
const (
	DeviceUnknown   DeviceProblem = "unknown"
	DeviceThrottled DeviceProblem = "throttled"
)

// Device renders the page. The form posts "user_code".
func (r *Renderer) Device(w http.ResponseWriter, status int, v Device) {
	v.Code = DisplayText(v.Code, maxUserCode)
	r.render(w, status, referrerForm, r.locale.device(r.frame(""), v))
}
