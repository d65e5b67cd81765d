// PoolTests — how the configured counts are shared between workers.

import Plan
import Testing

@testable import Upstream

@Suite struct PoolTests {
  @Test func sharesAddUp() {
    for total in [0, 1, 2, 3, 7, 64, 100, 1_000_003] {
      for workers in [1, 2, 3, 5, 16, 64, 1024] {
        let shares = (0..<workers).map { Pool.share(total, $0, workers) }
        #expect(shares.reduce(0, +) == total)
        #expect((shares.max() ?? 0) - (shares.min() ?? 0) <= 1)
        #expect(shares == shares.sorted(by: >))
      }
    }
  }

  @Test func noWorkersCountAsOne() {
    #expect(Pool.share(7, 0, 0) == 7)
  }

  @Test func everyWorkerMayConnect() {
    var plan = PoolPlan()
    plan.maxConnections = 3
    plan.maxIdleConnections = 2
    for workers in [1, 2, 3, 8, 100] {
      for worker in 0..<workers {
        let pool = Pool(plan, worker: worker, of: workers)
        #expect(pool.connectionLimit >= 1 && pool.idleLimit >= 1)
        #expect(pool.connectionLimit <= 3 && pool.idleLimit <= 2)
      }
    }
    plan.maxConnections = 0
    #expect(Pool(plan, worker: 0, of: 4).connectionLimit == 1)
  }

  @Test func noIdleConnectionsMeansNone() {
    var plan = PoolPlan()
    plan.maxIdleConnections = 0
    #expect(Pool(plan, worker: 0, of: 1).idleLimit == 0)
  }

  @Test func limitsAreTakenOver() {
    var plan = PoolPlan()
    plan.maxConnections = .max
    plan.connectTimeout = 250
    plan.idleTimeout = 1000
    plan.maxLifetime = 2000
    plan.maxRequests = .max
    let pool = Pool(plan, worker: 0, of: 1)
    #expect(pool.connectionLimit == .max && pool.requestLimit == .max)
    #expect(pool.connectTimeout == 250 && pool.idleTimeout == 1000 && pool.lifetime == 2000)
    #expect(pool.connections == 0 && pool.idle == 0)
  }
}
