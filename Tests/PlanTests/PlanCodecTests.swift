// PlanCodecTests — a plan survives being bytes; bytes that are no plan are refused.

import HTTPModel
import Plan
import Testing

@Suite struct PlanCodecTests {
  @Test func roundTrip() throws {
    #expect(try Plan(decoding: Plan().encoded()) == Plan())
    for seed in 0..<300 {
      let plan = randomPlan(UInt64(seed))
      #expect(try Plan(decoding: plan.encoded()) == plan, "seed \(seed)")
    }
  }

  @Test func readsFromSpan() throws {
    let plan = randomPlan(7)
    let bytes = plan.encoded()
    #expect(try Plan(decoding: bytes.span) == plan)
  }

  @Test func everyTruncationIsRefused() {
    for seed in 0..<5 {
      let bytes = randomPlan(UInt64(seed)).encoded()
      for length in 0..<bytes.count {
        #expect(throws: PlanError.self) { try Plan(decoding: Array(bytes[..<length])) }
        // Also with a header that agrees with the length.
        guard length >= 20 else { continue }
        var cut = Array(bytes[..<length])
        for index in 0..<8 { cut[12 + index] = UInt8(truncatingIfNeeded: (length - 20) >> (8 * index)) }
        #expect(throws: PlanError.self) { try Plan(decoding: cut) }
      }
      #expect(throws: PlanError.length) { try Plan(decoding: bytes + [0]) }
    }
  }

  /// A flipped bit gives another plan or an error; a plan that is read can be written and read again.
  @Test func bitFlipsDoNoHarm() {
    for seed in 0..<3 {
      let bytes = randomPlan(UInt64(seed)).encoded()
      for index in bytes.indices {
        for bit in 0..<8 {
          var flipped = bytes
          flipped[index] ^= 1 << UInt8(bit)
          if let plan = try? Plan(decoding: flipped) { #expect((try? Plan(decoding: plan.encoded())) == plan) }
        }
      }
    }
  }

  @Test func garbageIsRefused() {
    var random = Seeded(1)
    let header = Array(Plan().encoded().prefix(12))
    for _ in 0..<2000 {
      let count = random.below(200)
      let body = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let length = (0..<8).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) }
      if let plan = try? Plan(decoding: header + length + body) { #expect(plan.workers >= 1) }
    }
    #expect(throws: PlanError.notAPlan) { try Plan(decoding: []) }
    var other = Plan().encoded()
    other[8] = 99
    #expect(throws: PlanError.version(99)) { try Plan(decoding: other) }
  }

  @Test func unsoundPlansAreRefused() {
    var plan = randomPlan(3)
    plan.routes = [RoutePlan(pattern: "/", methods: .any, action: .forward(ForwardPlan(upstream: plan.upstreams.count)))]
    #expect(throws: PlanError.self) { try Plan(decoding: plan.encoded()) }
    plan.routes = []
    plan.upstreams[0].endpoints = []
    plan.upstreams[0].addresses = []
    #expect(throws: PlanError.self) { try Plan(decoding: plan.encoded()) }
    plan.upstreams[0].lookup = plan.names.count
    #expect(throws: PlanError.self) { try Plan(decoding: plan.encoded()) }
    plan.names.append(NamePlan(host: "app.test"))
    #expect(throws: Never.self) { try Plan(decoding: plan.encoded()) }
    var endpoint = EndpointPlan()
    endpoint.lookup = plan.names.count
    plan.upstreams[0].endpoints = [endpoint]
    #expect(throws: PlanError.self) { try Plan(decoding: plan.encoded()) }
    plan.upstreams = []
    plan.rateLimit.zones = [RateZonePlan()]
    plan.rateLimit.zones[0].store = plan.rateLimit.stores.count
    #expect(throws: PlanError.self) { try Plan(decoding: plan.encoded()) }
    plan.rateLimit.stores.append(RateStorePlan())
    #expect(throws: Never.self) { try Plan(decoding: plan.encoded()) }
    plan.rateLimit.stores[0].lookup = plan.names.count
    #expect(throws: PlanError.self) { try Plan(decoding: plan.encoded()) }
    plan.rateLimit = RateLimitPlan()
    plan.workers = 0
    #expect(throws: PlanError.self) { try Plan(decoding: plan.encoded()) }
  }

  /// A field that is added must be added to the codec, to `randomPlan`, and here.
  @Test func fieldsAreCounted() {
    func count(_ value: Any) -> Int { Mirror(reflecting: value).children.count }
    let plan = Plan()
    #expect(count(plan) == 24)
    #expect(count(plan.rateLimit) == 8)
    #expect(count(plan.concurrencyLimit) == 4)
    #expect(count(ConcurrencyZonePlan()) == 7)
    #expect(count(plan.dns) == 11)
    #expect(count(NamePlan(host: "")) == 2)
    #expect(count(RateZonePlan()) == 14)
    #expect(count(RedisPlan()) == 4)
    #expect(count(RateStorePlan()) == 8)
    #expect(count(plan.limits) == 5)
    #expect(count(plan.timeouts) == 6)
    #expect(count(plan.http1) == 3)
    #expect(count(plan.http2) == 11)
    #expect(count(plan.http2.floods) == 7)
    #expect(count(plan.log) == 5)
    #expect(count(plan.accessLog) == 9)
    #expect(count(SyslogPlan()) == 3)
    #expect(count(RouteLogPlan()) == 2)
    #expect(count(plan.identity) == 2)
    #expect(count(ListenerPlan(address: .ip("", port: 0))) == 9)
    #expect(count(plan.clientAddress) == 2)
    #expect(count(plan.access) == 2)
    #expect(count(plan.compression) == 7)
    #expect(count(TLSPlan()) == 9)
    #expect(count(CertificatePlan()) == 6)
    #expect(count(TicketPlan()) == 2)
    #expect(count(UpstreamPlan(name: "", host: "", port: 0, addresses: [])) == 14)
    #expect(count(HealthPlan()) == 3)
    #expect(count(HealthCheckPlan()) == 11)
    #expect(count(OutlierPlan()) == 9)
    #expect(count(BalancePlan()) == 5)
    #expect(count(StickyPlan()) == 8)
    #expect(count(EndpointPlan()) == 7)
    #expect(count(BreakerPlan()) == 19)
    #expect(count(UpstreamTLSPlan()) == 7)
    #expect(count(AuthorityPlan()) == 4)
    #expect(count(PoolPlan()) == 8)
    #expect(count(BackendHTTP2Plan()) == 12)
    #expect(count(RoutePlan(pattern: "", methods: .any, action: .health)) == 7)
    #expect(count(RouteRulesPlan()) == 9)
    #expect(count(MirrorPlan()) == 7)
    #expect(count(CORSPlan()) == 6)
    #expect(count(SplitPlan()) == 2)
    #expect(count(SplitArmPlan()) == 4)
    #expect(count(RequestBoundsPlan()) == 3)
    #expect(count(HeaderEditPlan()) == 6)
    #expect(count(RespondPlan()) == 3)
    #expect(count(HeaderPlan(name: "", value: "")) == 2)
    #expect(count(RedirectPlan(to: "")) == 2)
    #expect(count(EchoPlan()) == 6)
    #expect(count(StaticPlan(root: "")) == 10)
    #expect(count(MediaTypePlan()) == 2)
    #expect(count(ForwardPlan(upstream: 0)) == 28)
    #expect(count(RetryPlan()) == 12)
  }
}
