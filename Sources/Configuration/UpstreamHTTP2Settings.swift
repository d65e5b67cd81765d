// UpstreamHTTP2Settings — `upstreams[].http2`: the rows, and what they must agree on with each other and with TLS.

import Plan

private let day = 86_400_000

extension SettingsTable {
  static let upstreamHTTP2 = SettingTable<BackendHTTP2Plan>(
    BackendHTTP2Plan(),
    [
      .boolean("enabled", \.enabled, "Whether the backend is spoken to in HTTP/2, as prefer says."),
      .choice(
        "prefer", \.prefer, [("auto", .auto), ("always", .always), ("never", .never)],
        "Over TLS, offer HTTP/2 and take what the backend chooses, insist on it, or do not offer it. Without TLS, \"always\": the backend is known to speak it."),
      .integer("max_concurrent_streams_pref", \.maxConcurrentStreams, 1...1_000_000, "Requests at the same time on a connection, if the backend allows as many."),
      .quantity(
        "initial_window_size", \.initialWindow, .bytes, 1...2_147_483_647,
        "Body bytes the backend may send on a stream before the client has taken some; the window of the connection is as large as all streams need."),
      .quantity("max_frame_size", \.maxFrameSize, .bytes, 16_384...16_777_215, "The longest frame accepted."),
      .quantity("header_table_size", \.headerTableSize, .bytes, 0...(16 << 20), "The table of header fields, in either direction."),
      .quantity("max_header_list_size", \.maxHeaderListSize, .bytes, 4096...131_072, "Names, values and 32 for each field of a response; one with more is refused."),
      .quantity("ping_idle_sec", \.pingIdle, .seconds, 10...day, zero: "no pings", "Silence on a connection after which the backend is sent a PING."),
      .quantity("ping_timeout_sec", \.pingTimeout, .seconds, 10...day, zero: "no limit", "How long the backend may take to answer it before the connection counts as dead."),
      .quantity(
        "goaway_drain_timeout_sec", \.goAwayDrainTimeout, .seconds, 10...day, zero: "no limit",
        "How long requests may go on where no new ones are sent: after the backend's GOAWAY, or when a connection is old enough."),
      .integer(
        "saturation_open_pct", \.saturation, 1...100, zero: "only when all streams are in use",
        "Percentage of its streams in use at which a connection is full enough for another to be opened."),
      .integer(
        "preconnect_watermark_pct", \.preconnectWatermark, 1...99, zero: "not before it is needed",
        "…and at which that is done before it is needed; less than saturation_open_pct."),
    ])
}

extension Settings {
  func check(_ http2: BackendHTTP2Plan, _ upstream: UpstreamSettings, _ path: String, _ reading: inout Reading) {
    if http2.enabled, http2.prefer == .auto, !upstream.tls.enabled {
      let place = reading.origins["\(path).prefer"] == nil ? "\(path).enabled" : "\(path).prefer"
      reading.reject(
        place, "\(path).prefer \"auto\" needs tls, in which the protocol is agreed on; for a backend known to speak HTTP/2 in the clear, say \"always\"")
    }
    guard http2.preconnectWatermark > 0, http2.preconnectWatermark >= http2.saturation else { return }
    reading.reject(
      "\(path).preconnect_watermark_pct",
      "\(path).preconnect_watermark_pct (\(http2.preconnectWatermark)) must be less than saturation_open_pct (\(http2.saturation))")
  }
}
