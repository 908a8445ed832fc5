import Configuration
import EmergencyCalling
import Primitives

extension EmergencySettings {
    /// The part of the configuration that calls for help are placed by.
    package init(_ configuration: BoxConfiguration) {
        let emergency = configuration.emergency
        self.init(
            sites: [String: EmergencySite](
                uniqueKeysWithValues: configuration.sites.map { ($0.name, EmergencySite($0)) }),
            defaultSite: emergency.defaultSite, trunks: emergency.trunks, attemptTimeout: emergency.attemptTimeout,
            stations: [String: EmergencyStation](
                uniqueKeysWithValues: configuration.stations.map {
                    ($0.name, EmergencyStation(site: $0.site, place: $0.place))
                }),
            callbackWindow: emergency.callbackWindow, numbers: emergency.numberPlan)
    }
}

extension EmergencySite {
    init(_ site: SiteConfiguration) {
        self.init(
            name: site.name, networks: site.networks, address: site.address, trunks: site.trunks, psap: site.psap,
            elins: site.elins, contacts: site.contacts,
            subnets: site.subnets.map { Subnet(networks: $0.networks, place: $0.place) })
    }
}

extension EmergencyTrunk {
    init(_ trunk: TrunkEmergencyConfiguration) {
        self.init(
            carriesLocation: trunk.location == .pidf, showsELIN: trunk.number == .elin,
            usesServiceURN: trunk.requestURI == .service, resourcePriority: trunk.resourcePriority,
            sendsPriority: trunk.sendsPriority, isPSAPTrusted: trunk.isPSAPTrusted)
    }
}
