//! Simulation: a provider that speaks the Messages API and keeps its own count of what it served.
